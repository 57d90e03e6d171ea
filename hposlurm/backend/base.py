"""The Backend interface: what the planner needs of a cluster. tests/backend/contract.py tests every implementation."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping, Sequence
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
    """The next `count` elements of a wave, which become separate arrays, with their time limit and their `--nice`."""

    count: int
    time_min: int
    nice: int = 0


@dataclass(frozen=True, slots=True)
class WaveRequest:
    """A request to submit elements 0 … count-1 of a recorded wave."""

    layout: StudyLayout
    spec: StudySpec
    wave: int
    count: int
    #: Unique to this wave of this study. It becomes part of the jobs' names, so that a submission whose answer was
    #: lost can be found again.
    token: str
    #: The nodes that the jobs must avoid.
    exclude: tuple[str, ...] = ()
    #: True if the wave may not be planned yet, and may become smaller (driver: chain).
    is_late: bool = False
    #: The job that must end before the wave starts: the planner of the wave before.
    after: str | None = None
    #: Cover the elements in order; () is one group of all.
    groups: tuple[Group, ...] = ()
    #: Distinguishes the waves in flight, which share what `waves.max_concurrent` allows.
    lane: int = 0


@dataclass(frozen=True, slots=True)
class ElementState:
    """The state of an array element, and the cluster's own word for why it waits."""

    state: JobState
    detail: str = ""


#: A local element's detail once its driver is gone: nothing failed, and `resume` continues it
DRIVER_ENDED: str = Cause.DRIVER_ENDED.value


@dataclass(frozen=True, slots=True)
class Usage:
    """The accounting of one run of one element. A requeued element has several runs, in order of time."""

    state: JobState
    elapsed_s: float
    gpus: int
    node: str = ""


@dataclass(frozen=True, slots=True)
class NodeJob:
    """A running job of any user."""

    job_id: str
    user: str
    partition: str
    #: Seconds since the epoch.
    started_at: float
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Script:
    """A batch script for submission, with its file name in the wave's directory."""

    name: str
    text: str


class Capacity(Protocol):
    """The resources that a real or virtual cluster has for a study. Every method may raise BackendError."""

    name: str
    #: True if elements run only while this process waits for them, so that no planner job is needed.
    is_foreground: bool

    def problems(self, spec: StudySpec) -> list[Problem]:
        """Returns what the study requests and cannot get here; [] if no problem is known."""
        ...

    def wave_size(self, spec: StudySpec) -> int:
        """Returns how many elements can run at the same time, as a default for `waves.size`."""
        ...

    def gpus(self, spec: StudySpec) -> int:
        """Returns how many GPUs one element gets; a budget of GPU hours reserves these."""
        ...

    def scripts(self, request: WaveRequest) -> list[Script]:
        """Returns the scripts that a submission would send; sends and writes nothing. [] where nothing is ever sent."""
        ...


class Backend(Capacity, Protocol):
    """Runs waves. Every method may raise BackendError; none keeps state that a new process would miss.

    Job ids of elements are "ARRAY_INDEX". The order of a submission is submit (nothing runs yet) → submit_planner →
    release, with the ids recorded in between.
    """

    def nodes(self, spec: StudySpec) -> tuple[str, ...]:
        """Returns the names of the nodes that have what one element requests; () where that is not known."""
        ...

    def submit(self, request: WaveRequest) -> list[ArrayJob]:
        """Submits the wave, held: nothing starts before `release`.

        Finds and uses arrays that an interrupted submission of the same request left, instead of submitting them
        again. If the cluster's limits allow only a part of the wave, the arrays cover its first elements. Raises
        LimitError if they allow none. After any error no array of the request is left.
        """
        ...

    def submit_planner(self, request: WaveRequest, arrays: Sequence[ArrayJob]) -> str | None:
        """Submits the job that plans the next wave after `arrays`. Returns its job id, None where none is needed.

        Finds and uses a planner job that already waits for the same wave, instead of submitting another one.
        """
        ...

    def sweep(self, request: WaveRequest, arrays: Sequence[ArrayJob]) -> None:
        """Cancels all other arrays of the request than `arrays`: they are from submissions whose answer was lost."""
        ...

    def arrays_of(self, tokens: Collection[str]) -> Mapping[str, Sequence[str]]:
        """Returns the job ids of the arrays in the queue that carry one of the tokens, by token, lowest id first."""
        ...

    def release(self, arrays: Sequence[ArrayJob]) -> None:
        """Lets held arrays start; has no effect on arrays that run or have ended."""
        ...

    def cancel(self, job_ids: Sequence[str], tokens: Collection[str] | None = None) -> tuple[str, ...]:
        """Ends jobs, arrays or elements; ignores those that have ended already.

        Ids from a file come with the tokens of their waves: since then another job may have got the same number. Jobs
        that carry none of the tokens are not ended, and their ids are returned.
        """
        ...

    def states(self, job_ids: Sequence[str]) -> Mapping[str, ElementState]:
        """Asks once for all `job_ids`, elements and plain jobs, and returns the states of those that are known."""
        ...

    def usage(self, array_ids: Sequence[str]) -> Mapping[str, Sequence[Usage]] | None:
        """Returns every run of each ended element with its allocation; None where there is no accounting.

        A run that the accounting does not know, or not yet, is left out. All are while the accounting does not answer.
        """
        ...

    def running_on(self, nodes: Collection[str]) -> Sequence[NodeJob]:
        """Returns the jobs of all users that run on one of the nodes, as far as this user may see them."""
        ...

    def own_job(self) -> OwnJob | None:
        """Returns the cluster's job that this process runs in; None outside a job."""
        ...

    def run_again_later(self) -> bool:
        """Requeues the job that this process runs in, which ends the process; returns False outside a job."""
        ...

    def wait(self, arrays: Sequence[ArrayJob]) -> None:
        """Waits until the arrays have ended; a foreground backend runs all released arrays meanwhile."""
        ...


def capacity_of(kind: str) -> Backend | SimulatedCapacity:
    """Returns the backend of that name, or the capacity of a simulated cluster.

    Raises RequestError for an unknown name.
    """
    if kind == "simulated":
        return SimulatedCapacity()
    return choose(kind)


def choose(kind: str, patience_s: float = 60.0) -> Backend:
    """Returns the backend of that name; `auto` is Slurm where its commands exist, else local.

    The backend waits at most `patience_s` seconds for each answer of the cluster, then raises NotNowError. Raises
    RequestError for an unknown name, and for "simulated": a simulated study has no jobs.
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
        raise RequestError("a simulated study has no jobs: only `hposlurm launch` runs it, in one go")
    raise RequestError(f"there is no backend {kind!r}; choose auto, slurm, local or simulated")
