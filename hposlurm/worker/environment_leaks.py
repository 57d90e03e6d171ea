"""Knows which environment variables are not passed on: to Slurm's commands and jobs, and to a trial's command.

With those of its own job, sbatch and srun believe that what they start is a part of that job. Variables that are
options of Slurm's commands are not passed to them either: with SQUEUE_PARTITION squeue leaves out running jobs, and
with SCANCEL_PARTITION scancel cancels nothing, both with exit status 0.

A trial's command runs in the job, and its job id, nodes and directories are the user's. Only what describes the
worker's own step and rank is taken out: with it torchrun, Lightning and MPI believe to be one rank of that step.
Standard library only: the worker imports this.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_PREFIXES = (
    *("SLURM_", "SBATCH_", "SRUN_", "SALLOC_", "SQUEUE_", "SACCT_", "SINFO_", "SCONTROL_", "SCANCEL_", "SACCTMGR_"),
    *("PMI", "OMPI_COMM_WORLD_", "MV2_COMM_WORLD_", "TORCHELASTIC_", "PET_", "HPOSLURM_", "SUBMITIT_"),
)
_RANK = frozenset(
    {
        "GROUP_RANK",
        "GROUP_WORLD_SIZE",
        "LOCAL_RANK",
        "LOCAL_WORLD_SIZE",
        "NODE_RANK",
        "RANK",
        "ROLE_NAME",
        "ROLE_RANK",
        "ROLE_WORLD_SIZE",
        "WORLD_SIZE",
    }
)
_NAMES = _RANK | {"MASTER_ADDR", "MASTER_PORT"}
# Set by srun for each step or process of it (srun(1), OUTPUT ENVIRONMENT VARIABLES); a step of the command's own srun
# gets its own
_STEP_PREFIXES = (
    *("SLURM_STEP", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_GTIDS", "SLURM_NTASKS", "SLURM_NPROCS"),
    *("SLURM_TASK_PID", "SLURM_TASKS_PER_NODE", "SLURM_CPU_BIND", "SLURM_MEM_BIND", "SLURM_GPU_BIND"),
    *("SLURM_DISTRIBUTION", "SLURM_LAUNCH_NODE", "SLURM_SRUN_COMM", "SLURM_MPI_TYPE"),
    *("PMI", "OMPI_COMM_WORLD_", "MV2_COMM_WORLD_", "TORCHELASTIC_", "PET_", "HPOSLURM_", "SUBMITIT_"),
)
_REFERENCE = re.compile(r"\$\{?(\w+)")
_SRUN = re.compile(r"\bsrun\s")
# The shell of the command leaves these as they are, and the shell of a step reads them
_FOR_A_STEP = re.compile(r"'[^']*'|\\\$")
# The first two let every Slurm command find its cluster and log in there (slurm.conf's place, JSON web tokens); the
# third is the user's own choice
_KEPT = frozenset({"SLURM_CONF", "SLURM_JWT", "HPOSLURM_RUNS"})


def is_leak(name: str) -> bool:
    """True if a variable of this name must reach neither Slurm's commands nor a submitted job."""
    return name not in _KEPT and (name.startswith(_PREFIXES) or name in _NAMES)


def without_leaks(environ: Mapping[str, str]) -> dict[str, str]:
    """Returns `environ` for a command of Slurm or a submission."""
    return {name: value for name, value in environ.items() if not is_leak(name)}


def is_of_step(name: str) -> bool:
    """True if a variable of this name describes the worker's step or rank, and must not reach a trial's command."""
    return name not in _KEPT and (name.startswith(_STEP_PREFIXES) or name in _RANK)


def for_command(environ: Mapping[str, str]) -> dict[str, str]:
    """Returns `environ` for a trial's command. Its own srun starts steps in the job beside the worker's step."""
    found = {name: value for name, value in environ.items() if not is_of_step(name)}
    return {**found, "SLURM_OVERLAP": "1"} if "SLURM_JOB_ID" in found else found


def empty_in(command: str) -> list[str]:
    """Returns the variables that a command reads and that are always empty in a trial, in their order.

    Quoted ones that a step of the command's own srun reads are not among them.
    """
    read = _FOR_A_STEP.sub("", command) if _SRUN.search(command) else command
    found = dict.fromkeys(_REFERENCE.findall(read))
    return [name for name in found if name.startswith("SLURM_") and is_of_step(name)]
