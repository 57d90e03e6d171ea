"""driver: chain — pairs of an array and its planner, all submitted at once where jobs may not submit.

array 0 → planner 0 → array 1 → planner 1 → …: each job waits for the end of the one before it. Pair w is laid under the
wave's own token like any submission (submission.py), only before the wave is planned. Planner w-1 records the plan of
wave w; element i of array w then runs assignment i of it, and surplus elements end at once (worker/binding.py).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hposlurm.backend import NEVER_SATISFIED, Backend, Capacity, ElementState, WaveRequest
from hposlurm.decisions import trials_per_wave, waves_ahead
from hposlurm.errors import BackendError, LimitError
from hposlurm.planner import submission
from hposlurm.planner.claim import is_own, token_of
from hposlurm.planner.clock import CLOCK, Clock
from hposlurm.records.fail_points import fail_point
from hposlurm.records.history import History
from hposlurm.records.jobs import WaveJobs, read_jobs
from hposlurm.records.layout import StudyLayout
from hposlurm.records.plan import WavePlan
from hposlurm.trial import JobState

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec

# For trials that have to be tried again: pairs beyond those that the study needs if nothing goes wrong.
_SPARE = 3
# Where nothing tells how many waves there will be; and the most that one command lays, which is hundreds of jobs.
_PAIRS_UNKNOWN = 12
_PAIRS_MOST = 100
_COUNTED = 10_000


def is_used(spec: StudySpec, capacity: Capacity) -> bool:
    """True if the study's waves are submitted ahead; what runs in the foreground has no use for it."""
    return spec.slurm.driver == "chain" and not capacity.is_foreground


@dataclass(frozen=True, slots=True)
class Laid:
    """What `extend` did: how many pairs wait or run now, and why it laid fewer than `wanted` ("" if it did not).

    `is_busy`: another process lays pairs at this very moment.
    """

    pairs: int
    wanted: int
    why_fewer: str = ""
    is_busy: bool = False


def pairs_wanted(spec: StudySpec, history: History, wave_size: int) -> tuple[int, int]:
    """How many pairs should wait or run now, and how many elements each has."""
    known = [n for n in (spec.budget.n_trials, spec.space.cardinality(_COUNTED)) if n is not None]
    ahead = waves_ahead(spec, history, wave_size, _PAIRS_MOST) if known or spec.search.in_generations else None
    if ahead is not None:
        waves, size = ahead
        return min(_PAIRS_MOST, max(1, waves) + _SPARE), max(1, size)
    size = trials_per_wave(spec, wave_size)
    if not known:
        return _PAIRS_UNKNOWN, size
    left = max(1, min(known) - sum(trial.state.is_finished for trial in history.trials))
    size = min(size, left)
    return min(_PAIRS_MOST, -(-left // size) + _SPARE), size


def extend(layout: StudyLayout, spec: StudySpec, backend: Backend, history: History, clock: Clock = CLOCK) -> Laid:
    """Lays pairs behind those that are there, until the study has as many as it needs or the cluster takes no more.

    Mends pairs that lost their planner. Raises LimitError if the first one finds no room.
    """
    plan = history.plans[-1]
    wanted, size = pairs_wanted(spec, history, backend.wave_size(spec))
    laid, index, after = 0, plan.wave, ""
    queue = _queue(backend, [jobs for _, jobs in _pairs(layout, plan.wave)])
    while laid < wanted and not layout.stop.exists():
        count = len(plan.assignments) if index == plan.wave else size
        request = WaveRequest(layout, spec, index, count, "", plan.exclude, is_late=True, after=after or None)
        try:
            jobs = _lay(request, backend, queue, clock.now())
        except LimitError as error:
            if not laid:
                raise
            return Laid(laid, wanted, str(error))
        if jobs is None:
            return Laid(laid, wanted, "another process is at it", is_busy=True)
        fail_point("pair laid")
        is_new = jobs.arrays[0].job_id not in {job_id.partition("_")[0] for job_id in queue}
        laid += is_new or _is_alive(queue, elements(jobs))
        if jobs.planner and (is_new or _is_alive(queue, [jobs.planner]) or jobs.planner not in queue):
            after = jobs.planner
        index += 1
    return Laid(laid, wanted)


def _lay(request: WaveRequest, backend: Backend, queue: Mapping[str, ElementState], now: float) -> WaveJobs | None:
    """The pair, laid now if it was not, with a new planner if its own was lost; None: another process is at it."""
    wave = request.layout.wave(request.wave)
    jobs = submission.submitted_jobs(wave)
    if jobs is None or not wave.released.exists():
        return submission.submit_wave(request, backend, now)
    if _is_alive(queue, elements(jobs)) and not _is_alive(queue, [jobs.planner] if jobs.planner else []):
        submission.put_planner(replace(request, token=token_of(wave)), backend, wave, jobs.arrays)
    return submission.submitted_jobs(wave)


def elements(jobs: WaveJobs, first: int = 0) -> list[str]:
    """The job ids of all elements from the wave's element `first` on, surplus ones included."""
    ids = (array.element(i) for array in jobs.arrays for i in range(array.offset, array.offset + array.count))
    return [job_id for job_id in ids if job_id][first:]


def _pairs(layout: StudyLayout, first: int) -> Iterator[tuple[int, WaveJobs]]:
    """The submitted pairs from wave `first` on."""
    index = first
    while (jobs := read_jobs(layout.wave(index))) is not None:
        yield index, jobs
        index += 1


def _queue(backend: Backend, pairs: Sequence[WaveJobs]) -> Mapping[str, ElementState]:
    return backend.states([j for jobs in pairs for j in (*elements(jobs), *([jobs.planner] if jobs.planner else []))])


def _is_alive(queue: Mapping[str, ElementState], job_ids: Sequence[str]) -> bool:
    """Whether one of the jobs waits or runs, and does not wait for ever."""
    found = (queue[job_id] for job_id in job_ids if job_id in queue)
    return any(f.state in (JobState.PENDING, JobState.RUNNING) and f.detail != NEVER_SATISFIED for f in found)


def first_jobs(layout: StudyLayout, wave: int) -> WaveJobs | None:
    """The jobs of the pair of `wave`."""
    return read_jobs(layout.wave(wave))


def later_jobs(layout: StudyLayout, wave: int) -> list[WaveJobs]:
    """The jobs of the pairs behind `wave`."""
    return [jobs for _, jobs in _pairs(layout, wave + 1)]


def unless_missed(layout: StudyLayout, backend: Backend, plan: WavePlan) -> WavePlan:
    """The plan as it is to be recorded: without assignments if its array ended before it was made.

    What was decided about earlier attempts stays in it, and the wave behind it is planned next.
    """
    jobs = submission.submitted_jobs(layout.wave(plan.wave))
    if jobs is None or not jobs.is_late or plan.finished:
        return plan
    return plan if _is_alive(backend.states(elements(jobs)), elements(jobs)) else replace(plan, assignments=())


def trim(backend: Backend, plan: WavePlan, jobs: WaveJobs) -> None:
    """Cancels the surplus elements, which would only come and go; without an answer they do that."""
    surplus = elements(jobs, len(plan.assignments))
    if jobs.is_late and surplus:
        with contextlib.suppress(BackendError):
            backend.cancel(surplus)
        fail_point("surplus cancelled")


def dismiss(layout: StudyLayout, backend: Backend, plan: WavePlan) -> None:
    """Cancels the pairs that a finished study does not need, planners first; never this process's own job."""
    pairs = [jobs for _, jobs in _pairs(layout, plan.wave)]
    planners = [jobs.planner for jobs in pairs if jobs.planner and not is_own(jobs.planner, backend)]
    with contextlib.suppress(BackendError):
        backend.cancel([*planners, *(array.job_id for jobs in pairs for array in jobs.arrays)])
