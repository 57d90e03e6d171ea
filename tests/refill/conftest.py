"""What several tests of the refill process share."""

from tests.fake_slurm import fake_slurm_within

__all__ = ["fake_slurm_within"]
