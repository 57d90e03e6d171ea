"""The Backend seam: what the planner asks of a cluster. tests/backend/contract.py holds every side to it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from hposlurm.backend.identity import OwnJob
from hposlurm.backend.simulated import SimulatedCapacity
from hposlurm.errors import Problem, RequestError
from hposlurm.records.jobs import ArrayJob
from hposlurm.records.layout import StudyLayout
from hposlurm.trial import Cause, JobState

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec


@dataclass(frozen=True, slots=True)
class Group:
    """The next `count` elements of a wave, which become arrays of their own: their time limit, their `--nice`."""

    count: int
    time_min: int
    nice: int = 0


@dataclass(frozen=True, slots=True)
class WaveRequest:
    """What is to be submitted: elements 0 … count-1 of a recorded wave.

    `token` is unique to this wave of this study and becomes part of the jobs' names, so that a submission whose answer
    was lost can be found again. Jobs keep away from the nodes in `exclude`.

    `is_late` (driver: chain): the wave need not be planned yet, and may turn out smaller. `after` is the job that has
    to end before it starts, the planner of the wave before. `groups` cover the elements in order, () is one group of
    all; `lane` tells apart the waves in flight, which share what `waves.max_concurrent` allows.
    """

    layout: StudyLayout
    spec: StudySpec
    wave: int
    count: int
    token: str
    exclude: tuple[str, ...] = ()
    is_late: bool = False
    after: str | None = None
    groups: tuple[Group, ...] = ()
    lane: int = 0


@dataclass(frozen=True, slots=True)
class ElementState:
    """Where an array element is: its state, and the cluster's own word for why it waits."""

    state: JobState
    detail: str = ""


#: A local element's detail once its driver is gone: nothing failed, and `resume` goes on with it
DRIVER_ENDED: str = Cause.DRIVER_ENDED.value


@dataclass(frozen=True, slots=True)
class Usage:
    """What the accounting says of one run of one element; a requeued element has several, in order of time."""

    state: JobState
    elapsed_s: float
    gpus: int
    node: str = ""


@dataclass(frozen=True, slots=True)
class Script:
    """A batch script that would be submitted, with the file name that it gets in the wave's directory."""

    name: str
    text: str


class Capacity(Protocol):
    """What a study can be given, real or virtual. Every method may raise BackendError."""

    name: str
    #: True if elements run only while this process waits for them, so that no planner job is needed.
    is_foreground: bool

    def problems(self, spec: StudySpec) -> list[Problem]:
        """Returns what the study asks for and cannot get here; [] if nothing is known against it."""
        ...

    def wave_size(self, spec: StudySpec) -> int:
        """Returns how many elements can run at the same time, as a default for `waves.size`."""
        ...

    def gpus(self, spec: StudySpec) -> int:
        """Returns how many GPUs one element is given; a budget of GPU hours reserves these."""
        ...

    def scripts(self, request: WaveRequest) -> list[Script]:
        """Returns what a submission would send, without sending or writing anything; [] where nothing is ever sent."""
        ...


class Backend(Capacity, Protocol):
    """What runs waves. Every method may raise BackendError; none keeps state that a new process would miss.

    Job ids of elements are "ARRAY_INDEX". The order of a submission is submit (nothing runs yet) → submit_planner →
    release, with the ids recorded in between.
    """

    def nodes(self, spec: StudySpec) -> tuple[str, ...]:
        """Returns the names of the nodes that have what one element asks for; () where that is not known."""
        ...

    def submit(self, request: WaveRequest) -> list[ArrayJob]:
        """Submits the wave, held: nothing starts before `release`.

        Arrays that an interrupted submission of the same request left behind are found and used, not doubled. Where
        the cluster's limits leave room for a part of the wave only, the arrays cover its first elements; LimitError
        means that there is room for none. After any error no array of the request is left.
        """
        ...

    def submit_planner(self, request: WaveRequest, arrays: Sequence[ArrayJob]) -> str | None:
        """Submits the job that plans the next wave after `arrays`. Returns its job id, None where none is needed.

        One that already waits for the same wave is found and used, not doubled.
        """
        ...

    def sweep(self, request: WaveRequest, arrays: Sequence[ArrayJob]) -> None:
        """Cancels all arrays of the request except `arrays`: those of submissions whose answer was lost."""
        ...

    def release(self, arrays: Sequence[ArrayJob]) -> None:
        """Lets held arrays start; harmless for arrays that run or have ended."""
        ...

    def cancel(self, job_ids: Sequence[str]) -> None:
        """Ends jobs, arrays or elements; those that have ended already are no error."""
        ...

    def states(self, job_ids: Sequence[str]) -> Mapping[str, ElementState]:
        """Asks once for all `job_ids`, elements and plain jobs, and returns the states of those that are known."""
        ...

    def usage(self, array_ids: Sequence[str]) -> Mapping[str, Sequence[Usage]] | None:
        """Returns every run of each ended element with what it was allocated; None where there is no accounting."""
        ...

    def own_job(self) -> OwnJob | None:
        """Returns the cluster's job that this process runs in; None outside of one."""
        ...

    def run_again_later(self) -> bool:
        """Puts the job that this process runs in back into the queue, which ends the process; False outside of one."""
        ...

    def wait(self, arrays: Sequence[ArrayJob]) -> None:
        """Awaits the end of the arrays; a foreground backend runs them, and whatever else was released, meanwhile."""
        ...


def capacity_of(kind: str) -> Backend | SimulatedCapacity:
    """Returns the backend of that name, or what a simulated cluster has. Raises RequestError."""
    if kind == "simulated":
        return SimulatedCapacity()
    return choose(kind)


def choose(kind: str, patience_s: float = 60.0) -> Backend:
    """Returns the backend of that name; `auto` is Slurm where its commands are, else local.

    Raises RequestError; for a simulated study as well, which has no jobs.

    Each question to the cluster is given up after `patience_s` seconds, with NotNowError.
    """
    if kind == "auto":
        kind = "slurm" if shutil.which("sbatch") else "local"
    if kind == "slurm":
        from hposlurm.backend.slurm import SlurmBackend

        return SlurmBackend(patience_s)
    if kind == "local":
        from hposlurm.backend.local import LocalBackend

        return LocalBackend()
    if kind == "simulated":
        raise RequestError("a simulated study has no jobs: only `hposlurm launch` runs it, whole")
    raise RequestError(f"no backend {kind!r}; there are auto, slurm, local and simulated")
