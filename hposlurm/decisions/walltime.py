"""Sets the time limit of one assignment's job: a part of the training gets its part of `resources.time`.

Pure. A stage that trains s of max_resource steps gets 10 minutes and s / max_resource of the time, in whole minutes and
never more than all of it. A stage without an end, or from the beginning to the end, gets all of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from hposlurm.decisions.modes import is_refill, waves_in_flight
from hposlurm.records.assignment import Assignment
from hposlurm.records.history import History
from hposlurm.records.retries import ended_by
from hposlurm.search import stage_ends
from hposlurm.trial import Attempt, Cause, JobState

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec

#: Every job needs it in addition to its steps: to start, to load model and data, to save before its time limit.
ALLOWANCE_MIN = 10


def limit_min(spec: StudySpec, from_step: int, to_step: int | None) -> int:
    """Returns the minutes for a job that trains from `from_step` to `to_step` (None: to the training code's end)."""
    whole, end = spec.resources.time_min, spec.search.max_resource
    if end is None or to_step is None:
        return whole
    return min(whole, math.ceil(ALLOWANCE_MIN + whole * (to_step - from_step) / end))


def stage_limits(spec: StudySpec) -> list[tuple[int, int]]:
    """Returns (step, minutes) for each step at which a trial may pause: of the job that trains there from the last one.

    The last step is the end of training; [] if trials are trained in one go.
    """
    ends = stage_ends(spec.search)
    return [(step, limit_min(spec, before, step)) for before, step in zip((0, *ends), ends, strict=False)]


def may_differ(spec: StudySpec, count: int, wave_size: int) -> bool:
    """True if the jobs of a wave of `count` elements may have different time limits, in separate arrays.

    They may not if the arrays are submitted before their assignments are known (chain, refill), nor if `max_concurrent`
    is a limit: Slurm's %K caps one array, and nothing caps several together.
    """
    most = spec.waves.max_concurrent
    is_bound = most is not None and count > most // waves_in_flight(spec, wave_size)
    return spec.slurm.driver != "chain" and not is_refill(spec) and not is_bound


def with_limits(spec: StudySpec, history: History, assignments: Sequence[Assignment]) -> list[Assignment]:
    """Returns the assignments, each with the time limit of its job; None means all of `resources.time`.

    Steps that were not saved are trained again. A stage that ran into its limit once gets all of the time.
    """
    known = len(history.trials)
    attempts = (history.trial(a.trial).attempts if a.trial < known else () for a in assignments)
    return [replace(a, time_limit_s=_limit_s(spec, a, tried)) for a, tried in zip(assignments, attempts, strict=True)]


def _limit_s(spec: StudySpec, assignment: Assignment, attempts: Sequence[Attempt]) -> float | None:
    if any(attempt.stage == assignment.stage and ran_out(attempt) for attempt in attempts):
        return None
    saved = max((step for attempt in attempts for step, _ in attempt.checkpoints), default=0)
    begins = assignment.from_step if assignment.resume_from else min(assignment.from_step, saved)
    minutes = limit_min(spec, begins, assignment.to_step)
    return None if minutes >= spec.resources.time_min else minutes * 60.0


def ran_out(attempt: Attempt) -> bool:
    """True if the attempt ended because the time of its job was over."""
    return attempt.job_state is JobState.TIMEOUT or ended_by(attempt, Cause.TIME_LIMIT, Cause.TIME_LIMIT_AHEAD)


def in_order(spec: StudySpec, assignments: Sequence[Assignment]) -> tuple[Assignment, ...]:
    """Returns a wave's elements: continued trainings before new ones, in each group the longest time limits first.

    Copies stay before their parents: a parent trains on, and may then delete the checkpoint.
    """

    def place(a: Assignment) -> tuple[bool, float]:
        limit_s = float("inf") if a.time_limit_s is None else a.time_limit_s
        return a.from_step == 0, 0.0 if spec.search.in_generations else -limit_s

    return tuple(sorted(assignments, key=place))
