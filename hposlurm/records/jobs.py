"""The jobs of a wave as recorded in its directory: `jobs.json` and `planner.json`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hposlurm.records.decode import structure
from hposlurm.records.files import from_json
from hposlurm.records.layout import WaveLayout
from hposlurm.records.reading import read_whole

# Slurm's job ids, and the local backend's HOST.PID.START.N. They become words of commands.
_JOB_ID = re.compile(r"[0-9]{1,18}|[A-Za-z0-9-]+(\.[0-9]{1,18}){3}")
_MOST = 10_000_000  # elements of an array; a larger number is damage, and would not fit into the memory


@dataclass(frozen=True, slots=True)
class ArrayJob:
    """One submitted job array: its element i is element `offset + i` of the wave."""

    job_id: str
    offset: int
    count: int

    def element(self, index: int) -> str | None:
        """Returns the job id of the wave's element `index`; None if it belongs to another array."""
        inside = self.offset <= index < self.offset + self.count
        return f"{self.job_id}_{index - self.offset}" if inside else None


@dataclass(frozen=True, slots=True)
class WaveJobs:
    """The jobs of a submitted wave."""

    arrays: tuple[ArrayJob, ...]
    #: The planner job's id; None if none is needed, or none is submitted yet.
    planner: str | None = None
    #: True if they were submitted before the wave was planned; they may have more elements than it has assignments.
    is_late: bool = False
    #: The wave's token, which the names or comments of its jobs contain; "" if it is lost.
    token: str = ""

    def element(self, index: int) -> str | None:
        """Returns the job id of the wave's element `index`; None if no array has it."""
        return next((job_id for array in self.arrays if (job_id := array.element(index))), None)


def read_jobs(wave: WaveLayout) -> WaveJobs | None:
    """Returns the jobs of `wave`; None if it is not submitted yet, or its record cannot be read."""
    try:
        found = from_json(read_whole(wave.jobs))
        arrays = tuple(_array(array) for array in found["arrays"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    try:
        planner = job_id(from_json(read_whole(wave.planner_job))["job_id"])
    except (OSError, ValueError, KeyError, TypeError):
        planner = None
    return WaveJobs(arrays, planner, found.get("late") is True, wave_token(wave))


def job_id(value: object) -> str:
    """Returns `value` as a job id; raises ValueError if it is not one."""
    if not _JOB_ID.fullmatch(str(value)):
        raise ValueError(f"{value!r:.60} is not a job id")
    return str(value)


def wave_token(wave: WaveLayout) -> str:
    """Returns the token of the wave's intent; "" if it has none, or it cannot be read."""
    try:
        return str(from_json(read_whole(wave.intent))["token"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _array(data: object) -> ArrayJob:
    array = structure(ArrayJob, data)
    job_id(array.job_id)
    if array.offset < 0 or not 0 < array.count <= _MOST:
        raise ValueError(f"{array.count} elements from {array.offset} on")
    return array
