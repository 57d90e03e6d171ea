"""The environment of whoever started this process: which of its variables are about that, and must not be handed on.

Left in, they make sbatch, srun, torchrun and MPI believe that what they start is a part of the job or step around them.
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
    """Whether an environment variable of this name must reach neither a submitted job nor a trial's command."""
    return name not in _KEPT and (name.startswith(_PREFIXES) or name in _NAMES)
