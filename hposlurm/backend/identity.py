"""Who a process is: the Slurm job that it runs in, and the time of its start, which tells it from a later process."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class OwnJob:
    """The Slurm job that a process runs in."""

    #: Of an element of an array a plain number as well, not "ARRAY_INDEX" (sbatch(1), SLURM_JOB_ID)
    job_id: str
    #: The job id of its array; "" of a job that is not an element
    array: str = ""
    #: How many times it was requeued
    restart: int = 0


def slurm_job(environment: Mapping[str, str] = os.environ) -> OwnJob | None:
    """Returns the Slurm job that a process with this environment runs in, None outside of one.

    A worker reads its own facts itself (worker/facts.py): it runs below this room, and without a backend.
    """
    if not (job_id := environment.get("SLURM_JOB_ID")):
        return None
    restart = environment.get("SLURM_RESTART_COUNT", "")
    return OwnJob(job_id, environment.get("SLURM_ARRAY_JOB_ID", ""), int(restart) if restart.isdigit() else 0)


def start_time(pid: int) -> str:
    """Returns when a process started, in clock ticks since boot (proc(5), field 22 of stat); "" if it has ended.

    A zombie has ended: it does nothing any more, and waits only for its parent to take note.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
