"""Checks the shell: the variables that it passes on to jobs, and the Python that jobs start."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping

from hposlurm import __version__
from hposlurm.backend.identity import slurm_job
from hposlurm.doctor.finding import Finding, ok, warn
from hposlurm.worker.environment_leaks import is_leak

_SHOWN = 6
# Variables that users set on purpose for all their jobs, and the corresponding key of a study file
_MEANT = {
    "SBATCH_ACCOUNT": "slurm.account",
    "SBATCH_PARTITION": "slurm.partition",
    "SBATCH_QOS": "slurm.qos",
    "SBATCH_CONSTRAINT": "slurm.constraint",
    "SBATCH_RESERVATION": "slurm.extra.reservation",
}


def shell(environment: Mapping[str, str]) -> Finding:
    """Finds variables of another job, and options for every sbatch. hposlurm hides both from its jobs."""
    leaked = sorted(name for name in environment if name.startswith(("SLURM_", "SBATCH_")) and is_leak(name))
    if not leaked:
        return ok("shell", "no SLURM_* or SBATCH_* variables that would leak into jobs")
    meant = [f"{key}: {environment[name]}" for name, key in _MEANT.items() if environment.get(name)]
    if job := slurm_job(environment):
        what = f"inside job {job.job_id}: "
        advice = "hposlurm hides them from its jobs; your own srun and sbatch see them"
    else:
        what, advice = "", "hposlurm hides them from its jobs; `unset` them for your own jobs"
    if meant:
        advice = f"hposlurm hides them from its jobs; use the study file instead: {', '.join(meant)}"
    shown = ", ".join(leaked[:_SHOWN]) + (f" and {len(leaked) - _SHOWN} more" if len(leaked) > _SHOWN else "")
    return warn("shell", f"{what}{shown}", advice)


def python() -> Finding:
    return ok("python", f"{platform.python_version()}, hposlurm {__version__}, {sys.executable}")
