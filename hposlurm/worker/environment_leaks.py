"""Knows which environment variables describe the job or step that this process runs in, and must not be passed on.

With them, sbatch, srun, torchrun and MPI believe that what they start is a part of that job or step.
Standard library only: the worker imports this.
"""

from __future__ import annotations

_PREFIXES = ("SLURM_", "SBATCH_", "SRUN_", "PMI", "TORCHELASTIC_", "PET_", "HPOSLURM_", "SUBMITIT_")
_NAMES = frozenset(
    {
        "GROUP_RANK",
        "GROUP_WORLD_SIZE",
        "LOCAL_RANK",
        "LOCAL_WORLD_SIZE",
        "MASTER_ADDR",
        "MASTER_PORT",
        "RANK",
        "ROLE_NAME",
        "ROLE_RANK",
        "ROLE_WORLD_SIZE",
        "WORLD_SIZE",
    }
)
# Sites with an unusual place for slurm.conf need the first for every Slurm command; the second is the user's own choice
_KEPT = frozenset({"SLURM_CONF", "HPOSLURM_RUNS"})


def is_leak(name: str) -> bool:
    """True if a variable of this name must reach neither a submitted job nor a trial's command."""
    return name not in _KEPT and (name.startswith(_PREFIXES) or name in _NAMES)
