"""The jobs of a wave as recorded in its directory: `jobs.json` and `planner.json`."""

from __future__ import annotations

from dataclasses import dataclass

from hposlurm.records.decode import structure
from hposlurm.records.files import from_json
from hposlurm.records.layout import WaveLayout

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

    def element(self, index: int) -> str | None:
        """Returns the job id of the wave's element `index`; None if no array has it."""
        return next((job_id for array in self.arrays if (job_id := array.element(index))), None)


def read_jobs(wave: WaveLayout) -> WaveJobs | None:
    """Returns the jobs of `wave`; None if it is not submitted yet, or its record cannot be read."""
    try:
        found = from_json(wave.jobs.read_bytes())
        arrays = tuple(_array(array) for array in found["arrays"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    try:
        planner = from_json(wave.planner_job.read_bytes())["job_id"]
    except (OSError, ValueError, KeyError, TypeError):
        planner = None
    return WaveJobs(arrays, None if planner is None else str(planner), found.get("late") is True)


def _array(data: object) -> ArrayJob:
    array = structure(ArrayJob, data)
    if array.offset < 0 or not 0 < array.count <= _MOST:
        raise ValueError(f"{array.count} elements from {array.offset} on")
    return array
