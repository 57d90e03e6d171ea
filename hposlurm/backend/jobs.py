"""The jobs of a wave as its directory tells them: `jobs.json` and `planner.json`."""

from __future__ import annotations

import json
from dataclasses import dataclass

from hposlurm.backend.base import ArrayJob
from hposlurm.layout import WaveLayout


@dataclass(frozen=True, slots=True)
class WaveJobs:
    """The arrays of a submitted wave and its planner job (None where none was needed, or not submitted yet)."""

    arrays: tuple[ArrayJob, ...]
    planner: str | None = None

    def element(self, index: int) -> str | None:
        """The job id of the wave's element `index`."""
        return next((job_id for array in self.arrays if (job_id := array.element(index))), None)


def read_jobs(wave: WaveLayout) -> WaveJobs | None:
    """The jobs of `wave`; None if it was not submitted yet (or its record cannot be read)."""
    try:
        arrays = tuple(
            ArrayJob(str(array["job_id"]), int(array["offset"]), int(array["count"]))
            for array in json.loads(wave.jobs.read_bytes())["arrays"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    try:
        planner = json.loads(wave.planner_job.read_bytes())["job_id"]
    except (OSError, ValueError, KeyError, TypeError):
        planner = None
    return WaveJobs(arrays, None if planner is None else str(planner))
