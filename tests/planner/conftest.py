"""Fixtures that several tests of the planner share."""

from tests.fake_slurm import fake_slurm

__all__ = ["fake_slurm"]
