"""Finds out which elements of the waves in flight still run, and settles the others."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hposlurm.backend import Backend, ElementState, Usage
from hposlurm.errors import BackendError, StudyError
from hposlurm.planner import submission
from hposlurm.planner.claim import token_of
from hposlurm.planner.settle import (
    crashed,
    element_ids,
    log_end,
    settle,
    settle_late,
    unfinished,
    unsettled,
    without_trial,
)
from hposlurm.records import refill_pool
from hposlurm.records.assignment import Assignment, Settlement
from hposlurm.records.clock import CLOCK, Clock
from hposlurm.records.history import History, read_history
from hposlurm.records.jobs import WaveJobs
from hposlurm.records.layout import StudyLayout
from hposlurm.records.plan import WavePlan, bound, read_first
from hposlurm.trial import JobState

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec

# An element counts as lost if for this long the cluster does not know it and it has no record: NFS may hide a new file
# for a minute, and sacct's rows appear late.
LOST_AFTER_S = 90
# How long the planner of a finished study waits for the last rows of sacct, so that the study's GPU hours are final.
SETTLE_S = 30
_ASK_AGAIN_S = 2

UNKNOWN = ElementState(JobState.UNKNOWN)
_WRITES = ElementState(JobState.RUNNING, "its journal grows")


@dataclass(frozen=True, slots=True)
class Look:
    """A submitted wave and the states of its elements."""

    plan: WavePlan
    jobs: WaveJobs
    #: The job id of every element; "" for an element that was not submitted for lack of room.
    ids: Sequence[str]
    #: The cluster's states, by job id, of the elements that may not have ended for good.
    states: Mapping[str, ElementState]
    #: The indices of the elements that wait or run.
    alive: Sequence[int]


def look(layout: StudyLayout, backend: Backend, plan: WavePlan, history: History, clock: Clock = CLOCK) -> Look:
    """Asks the cluster about a submitted wave, and waits for a while if the cluster does not know an element.

    Raises StudyError if the wave's jobs.json is missing or damaged.
    """
    jobs = submission.submitted_jobs(layout.wave(plan.wave))
    if jobs is None:
        raise StudyError(f"{layout.wave(plan.wave).jobs} has disappeared, but the wave after it is planned")
    ids = element_ids(plan, jobs.arrays)
    elements = [i for i in unfinished(plan, history, bound(layout.wave(plan.wave), plan)) if ids[i]]
    states = _await_known(layout, backend, plan, history, ids, elements, clock) if elements else {}
    alive = [i for i in elements if states.get(ids[i], UNKNOWN).state in (JobState.PENDING, JobState.RUNNING)]
    return Look(plan, jobs, ids, states, alive)


def _await_known(
    layout: StudyLayout,
    backend: Backend,
    plan: WavePlan,
    history: History,
    ids: Sequence[str],
    elements: Sequence[int],
    clock: Clock,
) -> Mapping[str, ElementState]:
    """Returns the cluster's states; asks again, up to LOST_AFTER_S, about elements without a state and a record.

    An element that the cluster does not know then, but whose journal has grown meanwhile, still runs.
    """
    deadline = clock.monotonic() + LOST_AFTER_S
    before = history
    while True:
        states = backend.states([ids[i] for i in elements])
        runs = bound(layout.wave(plan.wave), plan)  # an element without an assignment writes no record
        unknown = [i for i in elements if i in runs and states.get(ids[i], UNKNOWN).state is JobState.UNKNOWN]
        if not unknown or clock.monotonic() > deadline:
            writing = {ids[i]: _WRITES for i in unknown if _has_written(runs[i].trial, before, history)}
            return {**states, **writing}
        clock.sleep(_ASK_AGAIN_S)
        history = read_history(layout, after=history)
        plan = history.plans[plan.wave]
        still = set(unfinished(plan, history, bound(layout.wave(plan.wave), plan)))
        elements = [i for i in elements if i in still]
        if not elements:
            return states


def _has_written(trial: int, before: History, now: History) -> bool:
    """True if a journal of the trial has grown between two histories."""
    lengths = ([attempt.offset for attempt in history.journals.get(trial, ())] for history in (before, now))
    return next(lengths) != next(lengths)


def cancel_leftovers(layout: StudyLayout, spec: StudySpec, backend: Backend, found: Look) -> None:
    """Cancels arrays of an ended wave whose submission got no answer: they would stay held in the queue forever."""
    with contextlib.suppress(BackendError):
        token = token_of(layout.wave(found.plan.wave))
        backend.sweep(submission.request_for(layout, spec, found.plan, token), found.jobs.arrays)


def settle_waves(
    layout: StudyLayout, backend: Backend, history: History, ended: Sequence[Look]
) -> tuple[Settlement, ...]:
    """Returns the settlements of the ended waves' attempts, and those of earlier attempts whose accounting is new."""
    if not ended:
        return ()
    late = unsettled(history, {plan.wave for plan in history.in_flight})
    usage = backend.usage(_arrays([*(i for found in ended for i in found.ids), *(a.job_id for _, a in late)])) or {}
    settled = [s for found in ended for s in _settlements(layout, backend, history, found, usage)]
    return (*settled, *settle_late(late, usage))


def _settlements(
    layout: StudyLayout, backend: Backend, history: History, found: Look, usage: Mapping[str, Sequence[Usage]]
) -> tuple[Settlement, ...]:
    wave, states, plan = layout.wave(found.plan.wave), found.states, history.plans[found.plan.wave]
    runs = bound(wave, plan)
    if plan.elements is not None and not runs and not wave.cancelled.exists():
        runs = _never_taken(plan, found)
    ids = (found.ids[i] for i in crashed(plan, history, runs))
    unexplained = [job_id for job_id in ids if job_id and job_id not in usage]
    if unexplained:
        states = {**backend.states(unexplained), **states}
    settled = settle(
        plan,
        history,
        found.ids,
        states,
        usage,
        bound=runs,
        after_cancel=wave.cancelled.exists(),
        is_late=found.jobs.is_late,
        is_paused=wave.paused.exists(),
        log_tail=lambda job_id: log_end(wave.element_log(*_split(job_id), "err")),
    )
    return (*settled, *(without_trial(plan, runs, found.ids, usage) if plan.elements is not None else ()))


def _never_taken(plan: WavePlan, found: Look) -> dict[int, Assignment]:
    """Returns the assignments that the elements of a refill wave would have run, though none took one.

    Elements that a person cancelled are left out.
    """
    return {
        index: assignment
        for index, assignment in enumerate(plan.assignments[: plan.size])
        if found.states.get(found.ids[index], UNKNOWN).state is not JobState.CANCELLED
    }


def close_pools(layout: StudyLayout, ended: Sequence[Look], now: float) -> None:
    """Closes the pools of ended refill waves: no assignment is added or taken any more."""
    for found in ended:
        if found.plan.elements is not None:
            wave = layout.wave(found.plan.wave)
            refill_pool.close(wave, len(read_first(wave).assignments), now)


def await_accounting(
    layout: StudyLayout,
    backend: Backend,
    history: History,
    ended: Sequence[Look],
    settled: tuple[Settlement, ...],
    clock: Clock = CLOCK,
) -> tuple[Settlement, ...]:
    """Settles again once sacct, whose rows appear late, has one for every element, or after SETTLE_S.

    No later wave would settle these attempts.
    """
    deadline = clock.monotonic() + SETTLE_S
    submitted = [job_id for found in ended for job_id in found.ids if job_id]
    while (usage := backend.usage(_arrays(submitted))) is not None:
        if all(job_id in usage for job_id in submitted) or clock.monotonic() > deadline:
            return settle_waves(layout, backend, history, ended)
        clock.sleep(_ASK_AGAIN_S)
    return settled


def _arrays(job_ids: Sequence[str]) -> list[str]:
    return sorted({job_id.rpartition("_")[0] for job_id in job_ids if job_id})


def _split(job_id: str) -> tuple[str, int]:
    array, _, index = job_id.rpartition("_")
    return array, int(index or 0)
