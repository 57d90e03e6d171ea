"""Knows which environment variables describe the job or step that this process runs in, and must not be passed on.

With them, sbatch, srun, torchrun and MPI believe that what they start is a part of that job or step. Variables that are
options of Slurm's commands are not passed on either: with SQUEUE_PARTITION squeue leaves out running jobs, and with
SCANCEL_PARTITION scancel cancels nothing, both with exit status 0. Standard library only: the worker imports this.
"""

from __future__ import annotations

from collections.abc import Mapping

_PREFIXES = (
    *("SLURM_", "SBATCH_", "SRUN_", "SALLOC_", "SQUEUE_", "SACCT_", "SINFO_", "SCONTROL_", "SCANCEL_", "SACCTMGR_"),
    *("PMI", "TORCHELASTIC_", "PET_", "HPOSLURM_", "SUBMITIT_"),
)
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
# The first two let every Slurm command find its cluster and log in there (slurm.conf's place, JSON web tokens); the
# third is the user's own choice
_KEPT = frozenset({"SLURM_CONF", "SLURM_JWT", "HPOSLURM_RUNS"})


def is_leak(name: str) -> bool:
    """True if a variable of this name must reach neither Slurm's commands, nor a submitted job or a trial's command."""
    return name not in _KEPT and (name.startswith(_PREFIXES) or name in _NAMES)


def without_leaks(environ: Mapping[str, str]) -> dict[str, str]:
    """Returns `environ` without the variables that must not be passed on."""
    return {name: value for name, value in environ.items() if not is_leak(name)}
