"""driver: chain — submits pairs of an array and its planner in advance, for clusters where jobs may not submit.

array 0 → planner 0 → array 1 → planner 1 → …: each job waits for the end of the one before it. Pair w is submitted with
the wave's own token like any wave (submission.py), but before the wave is planned. Planner w-1 records the plan of wave
w. Element i of array w then runs assignment i of it, and elements without an assignment end at once
(worker/binding.py).
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
from hposlurm.records.clock import CLOCK, Clock
from hposlurm.records.fail_points import fail_point
from hposlurm.records.history import History
from hposlurm.records.jobs import WaveJobs, read_jobs
from hposlurm.records.layout import StudyLayout
from hposlurm.records.plan import WavePlan
from hposlurm.trial import JobState

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec

# Pairs for retries, beyond those that the study needs if no trial fails.
_SPARE = 3
# The number of pairs if the number of waves is not known.
_PAIRS_UNKNOWN = 12
# The most pairs that one command submits: that is hundreds of jobs.
_PAIRS_MOST = 100
# The largest search space whose configurations are counted.
_COUNTED = 10_000


def is_used(spec: StudySpec, capacity: Capacity) -> bool:
    """True if the study's waves are submitted in advance; a foreground backend does not need that."""
    return spec.slurm.driver == "chain" and not capacity.is_foreground


@dataclass(frozen=True, slots=True)
class Extension:
    """The result of `extend`."""

    #: How many pairs wait or run now.
    pairs: int
    #: How many pairs should wait or run.
    wanted: int
    #: Why there are fewer pairs than wanted; "" if there are not.
    why_fewer: str = ""
    #: True if another process submits pairs right now.
    is_busy: bool = False


def pairs_wanted(spec: StudySpec, history: History, wave_size: int) -> tuple[int, int]:
    """Returns how many pairs should wait or run now, and how many elements each has."""
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


def extend(layout: StudyLayout, spec: StudySpec, backend: Backend, history: History, clock: Clock = CLOCK) -> Extension:
    """Submits pairs after the existing ones until the study has as many as it needs or the cluster accepts no more.

    Repairs pairs that lost their planner. Raises LimitError if there is no room for the first pair.
    """
    plan = history.plans[-1]
    wanted, size = pairs_wanted(spec, history, backend.wave_size(spec))
    pairs, index, after = 0, plan.wave, ""
    queue = _queue(backend, [jobs for _, jobs in _pairs(layout, plan.wave)])
    while pairs < wanted and not layout.stop.exists():
        count = len(plan.assignments) if index == plan.wave else size
        request = WaveRequest(layout, spec, index, count, "", plan.exclude, is_late=True, after=after or None)
        try:
            jobs = _submit_pair(request, backend, queue, clock.now())
        except LimitError as error:
            if not pairs:
                raise
            return Extension(pairs, wanted, str(error))
        if jobs is None:
            return Extension(pairs, wanted, "another process submits them", is_busy=True)
        fail_point("pair laid")
        is_new = jobs.arrays[0].job_id not in {job_id.partition("_")[0] for job_id in queue}
        pairs += is_new or _is_alive(queue, elements(jobs))
        if jobs.planner and (is_new or _is_alive(queue, [jobs.planner]) or jobs.planner not in queue):
            after = jobs.planner
        index += 1
    return Extension(pairs, wanted)


def _submit_pair(
    request: WaveRequest, backend: Backend, queue: Mapping[str, ElementState], now: float
) -> WaveJobs | None:
    """Returns the pair; submits it if it was not, and a new planner if its own is lost.

    None if another process does.
    """
    wave = request.layout.wave(request.wave)
    jobs = submission.submitted_jobs(wave)
    if jobs is None or not wave.released.exists():
        return submission.submit_wave(request, backend, now)
    if _is_alive(queue, elements(jobs)) and not _is_alive(queue, [jobs.planner] if jobs.planner else []):
        submission.put_planner(replace(request, token=token_of(wave)), backend, wave, jobs.arrays)
    return submission.submitted_jobs(wave)


def elements(jobs: WaveJobs, first: int = 0) -> list[str]:
    """Returns the job ids of all elements from the wave's element `first` on, those without an assignment included."""
    ids = (array.element(i) for array in jobs.arrays for i in range(array.offset, array.offset + array.count))
    return [job_id for job_id in ids if job_id][first:]


def _pairs(layout: StudyLayout, first: int) -> Iterator[tuple[int, WaveJobs]]:
    """Yields (wave, jobs) of the submitted pairs from wave `first` on."""
    index = first
    while (jobs := read_jobs(layout.wave(index))) is not None:
        yield index, jobs
        index += 1


def _queue(backend: Backend, pairs: Sequence[WaveJobs]) -> Mapping[str, ElementState]:
    return backend.states([j for jobs in pairs for j in (*elements(jobs), *([jobs.planner] if jobs.planner else []))])


def _is_alive(queue: Mapping[str, ElementState], job_ids: Sequence[str]) -> bool:
    """True if one of the jobs runs, or waits and will start."""
    found = (queue[job_id] for job_id in job_ids if job_id in queue)
    return any(f.state in (JobState.PENDING, JobState.RUNNING) and f.detail != NEVER_SATISFIED for f in found)


def has_begun(backend: Backend, jobs: WaveJobs) -> bool:
    """True if an element of the pair runs or has ended: it was released, even without a record of that."""
    found = backend.states(elements(jobs))
    return not found or any(element.state is not JobState.PENDING for element in found.values())


def first_jobs(layout: StudyLayout, wave: int) -> WaveJobs | None:
    """Returns the jobs of the pair of `wave`; None if it is not submitted."""
    return read_jobs(layout.wave(wave))


def later_jobs(layout: StudyLayout, wave: int) -> list[WaveJobs]:
    """Returns the jobs of the pairs after `wave`."""
    return [jobs for _, jobs in _pairs(layout, wave + 1)]


def unless_missed(layout: StudyLayout, backend: Backend, plan: WavePlan) -> WavePlan:
    """Returns the plan to record: without assignments if the wave's array ended before the plan was made.

    The plan keeps its settlements of earlier attempts, and the next wave is planned after it.
    """
    jobs = submission.submitted_jobs(layout.wave(plan.wave))
    if jobs is None or not jobs.is_late or plan.finished:
        return plan
    return plan if _is_alive(backend.states(elements(jobs)), elements(jobs)) else replace(plan, assignments=())


def trim(backend: Backend, plan: WavePlan, jobs: WaveJobs) -> None:
    """Cancels the elements without an assignment; if the cluster gives no answer, they start and end at once."""
    unneeded = elements(jobs, len(plan.assignments))
    if jobs.is_late and unneeded:
        with contextlib.suppress(BackendError):
            backend.cancel(unneeded, [jobs.token])
        fail_point("surplus cancelled")


def cancel_pairs(layout: StudyLayout, backend: Backend, plan: WavePlan) -> None:
    """Cancels the pairs that a finished study does not need, planners first, but never this process's own job."""
    pairs = [jobs for _, jobs in _pairs(layout, plan.wave)]
    planners = [jobs.planner for jobs in pairs if jobs.planner and not is_own(jobs.planner, backend)]
    with contextlib.suppress(BackendError):
        arrays = [array.job_id for jobs in pairs for array in jobs.arrays]
        backend.cancel([*planners, *arrays], [jobs.token for jobs in pairs])
