"""How long the job of one assignment may last: a part of the training gets its part of `resources.time`.

Pure. A stage that trains s of max_resource steps gets 10 minutes and s / max_resource of the time, in whole minutes and
never more than all of it; whatever has no end, or trains to it from the beginning, gets all of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from hposlurm.decisions.modes import is_refill, waves_in_flight
from hposlurm.records.history import History
from hposlurm.records.retries import ended_by
from hposlurm.search import stage_ends
from hposlurm.trial import Assignment, Attempt, Cause, JobState

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec

#: What every job needs beside its steps: to start, to load model and data, to save before its time is over.
ALLOWANCE_MIN = 10


def limit_min(spec: StudySpec, from_step: int, to_step: int | None) -> int:
    """Minutes for a job that trains from `from_step` to `to_step` (None: to the training code's own end)."""
    whole, end = spec.resources.time_min, spec.search.max_resource
    if end is None or to_step is None:
        return whole
    return min(whole, math.ceil(ALLOWANCE_MIN + whole * (to_step - from_step) / end))


def stage_limits(spec: StudySpec) -> list[tuple[int, int]]:
    """For each step at which a trial may pause the minutes of a job that trains there from the one before.

    The last one is where training ends; [] where trials are trained in one go.
    """
    ends = stage_ends(spec.search)
    return [(step, limit_min(spec, before, step)) for before, step in zip((0, *ends), ends, strict=False)]


def may_differ(spec: StudySpec, count: int, wave_size: int) -> bool:
    """Whether the jobs of a wave of `count` elements may have time limits of their own, in arrays of their own.

    They may not where the arrays are submitted before it is known what runs in them (chain, refill), nor where
    `max_concurrent` binds: Slurm's %K is one array's, and nothing caps several together.
    """
    most = spec.waves.max_concurrent
    is_bound = most is not None and count > most // waves_in_flight(spec, wave_size)
    return spec.slurm.driver != "chain" and not is_refill(spec) and not is_bound


def with_limits(spec: StudySpec, history: History, assignments: Sequence[Assignment]) -> list[Assignment]:
    """The assignments, each with the time limit of its own job, None for all of `resources.time`.

    What was not saved is trained again, and a stage that ran into its limit once gets all the time there is.
    """
    known = len(history.trials)
    attempts = (history.trial(a.trial).attempts if a.trial < known else () for a in assignments)
    return [replace(a, time_limit_s=_limit_s(spec, a, tried)) for a, tried in zip(assignments, attempts, strict=True)]


def _limit_s(spec: StudySpec, assignment: Assignment, attempts: Sequence[Attempt]) -> float | None:
    if any(attempt.stage == assignment.stage and _ran_out(attempt) for attempt in attempts):
        return None
    saved = max((step for attempt in attempts for step, _ in attempt.checkpoints), default=0)
    begins = assignment.from_step if assignment.resume_from else min(assignment.from_step, saved)
    minutes = limit_min(spec, begins, assignment.to_step)
    return None if minutes >= spec.resources.time_min else minutes * 60.0


def _ran_out(attempt: Attempt) -> bool:
    return attempt.job_state is JobState.TIMEOUT or ended_by(attempt, Cause.TIME_LIMIT, Cause.TIME_LIMIT_AHEAD)


def in_order(spec: StudySpec, assignments: Sequence[Assignment]) -> tuple[Assignment, ...]:
    """A wave's elements: what goes on before what begins, each of these with the longest time limits first.

    Copies stay before the trials that they are copies of: these go on, and may then delete the checkpoint.
    """

    def place(a: Assignment) -> tuple[bool, float]:
        limit_s = float("inf") if a.time_limit_s is None else a.time_limit_s
        return a.from_step == 0, 0.0 if spec.search.in_generations else -limit_s

    return tuple(sorted(assignments, key=place))
