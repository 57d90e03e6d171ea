"""Identifies a process: by the Slurm job that it runs in, and by its start time, since process ids are reused."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class OwnJob:
    """The Slurm job that a process runs in."""

    #: A plain number, for an element of an array too, not "ARRAY_INDEX" (sbatch(1), SLURM_JOB_ID).
    job_id: str
    #: The job id of its array; "" for a job that is not an element.
    array: str = ""
    #: How many times it was requeued.
    restart: int = 0


def slurm_job(environment: Mapping[str, str] = os.environ) -> OwnJob | None:
    """Returns the Slurm job that a process with this environment runs in; None outside a job.

    A worker reads its own facts (worker/facts.py): it is in a lower layer than this room, and has no backend.
    """
    if not (job_id := environment.get("SLURM_JOB_ID")):
        return None
    restart = environment.get("SLURM_RESTART_COUNT", "")
    return OwnJob(job_id, environment.get("SLURM_ARRAY_JOB_ID", ""), int(restart) if restart.isdigit() else 0)


def start_time(pid: int) -> str:
    """Returns when a process started, in clock ticks since boot (proc(5), field 22 of stat); "" if it has ended.

    A zombie has ended: it only waits until its parent reads its exit status.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
