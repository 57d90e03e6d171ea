"""Decides whether a trial gets another attempt: interruptions are free until attempts make no more progress.

Pure, and standard library only: the worker uses it too, since Slurm may requeue a job forever without a planner step.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from hposlurm.trial import Attempt, Cause, EndCause, JobState, Outcome

#: How many interruptions in a row without progress end a trial. Generous, since a preemption is not the trial's fault,
#: but finite, so that the study ends.
INTERRUPTIONS = 10
#: The same, with attempts that had no time for a first step.
MOST_INTERRUPTIONS = 100

_LAST_NUMBER = re.compile(r"(\d+)\D*$")  # takes quadratic time
_LONGEST_NAME = 255
# Exit statuses after SIGKILL. The kernel may have killed the process for its memory: only the job's state shows that.
_KILLED = (-9, 137)


@dataclass(slots=True)
class _Reach:
    """The progress of attempts. A step may be a whole epoch, so a newer checkpoint within it counts as progress too."""

    step: int | None = None
    saved: tuple[int, int] | None = None

    def extend(self, attempt: Attempt) -> bool:
        """Adds what the attempt reached; returns True if that is further than before."""
        reported = [report.step for report in attempt.reports]
        numbers = ((step, last_number(path)) for step, path in attempt.checkpoints)
        saved = [(step, -1 if number is None else number) for step, number in numbers]
        step = max([*reported, *(step for step, _ in saved)], default=None)
        has_advanced = False
        if step is not None and (self.step is None or step > self.step):
            self.step, has_advanced = step, True
        if saved and (self.saved is None or max(saved) > self.saved):
            self.saved, has_advanced = max(saved), True
        return has_advanced


def makes_progress(attempts: Sequence[Attempt]) -> bool:
    """True if the last of `attempts` got further than the earlier ones, and there is a checkpoint to continue from."""
    reach = _Reach()
    has_advanced = [reach.extend(attempt) for attempt in attempts]
    return reach.saved is not None and bool(has_advanced) and has_advanced[-1]


def gives_back(attempts: Sequence[Attempt]) -> bool:
    """True if an element of a refill wave, after the last of `attempts`, releases the trial for another element.

    Only its own record counts. An attempt that was asked to stop may have been cancelled by a person, and one that was
    killed may have used too much memory: only the planner can decide that, since it asks for the states of the jobs.
    """
    attempt = attempts[-1]
    if attempt.outcome is Outcome.INTERRUPTED:
        return ended_by(attempt, Cause.TIME_LIMIT_AHEAD) and makes_progress(attempts)
    if attempt.outcome is Outcome.FAIL:
        return attempt.exit_code is not None and attempt.exit_code not in _KILLED
    return attempt.outcome is not None


def ended_by(attempt: Attempt, *kinds: Cause) -> bool:
    """True if the attempt has ended for a cause of one of these kinds."""
    return attempt.cause is not None and attempt.cause.kind in kinds


def reached(attempts: Sequence[Attempt]) -> int | None:
    """Returns the largest step that any of the attempts reported or saved; None if there is none."""
    reach = _Reach()
    for attempt in attempts:
        reach.extend(attempt)
    return reach.step


def no_progress(attempts: Sequence[Attempt]) -> EndCause | None:
    """Returns why the trial gets no other attempt although it may have retries left; None while it may get one.

    Either two attempts used up the time limit of the job, or INTERRUPTIONS attempts in a row were interrupted, without
    progress. An attempt that had no time for a first step proves nothing; only MOST_INTERRUPTIONS of them in a row do.
    Other failures never end a trial early: `trial.retries` says how many are allowed.
    """
    reach = _Reach()
    interruptions, fruitless = 0, 0
    limit: Attempt | None = None
    needed_s = _first_step_s(attempts)
    for attempt in attempts:
        if reach.extend(attempt):
            interruptions, fruitless, limit = 0, 0, None
        if attempt.outcome is Outcome.INTERRUPTED and attempt.job_state is not JobState.CANCELLED:
            fruitless += 1
            interruptions += _had_time(attempt, needed_s)
            if interruptions >= INTERRUPTIONS or fruitless >= MOST_INTERRUPTIONS:
                return EndCause(Cause.NO_PROGRESS, step=reach.step, count=fruitless, attempts=(attempt.number,))
        if attempt.outcome is Outcome.FAIL and ended_by(attempt, Cause.TIME_LIMIT):
            if limit is not None:
                return EndCause(Cause.NO_PROGRESS, step=reach.step, attempts=(limit.number, attempt.number))
            limit = attempt
    return None


def repeated_failure(attempts: Sequence[Attempt]) -> EndCause | None:
    """Returns which two failures were alike at the same step; None if none were. It explains, and ends nothing."""
    reach = _Reach()
    failure: Attempt | None = None
    for attempt in attempts:
        if reach.extend(attempt):
            failure = None
        if attempt.outcome is Outcome.FAIL:
            is_same = failure is not None and failure.cause is not None and failure.cause == attempt.cause
            if failure is not None and is_same and reach.step is not None:
                return EndCause(Cause.NO_PROGRESS, step=reach.step, attempts=(failure.number, attempt.number))
            failure = attempt
    return None


def _first_step_s(attempts: Sequence[Attempt]) -> float | None:
    """Returns the shortest time after which an attempt made its first report; None if none has reported."""
    times = [report.time - a.started_at for a in attempts if a.started_at for report in a.reports[:1]]
    return min(times, default=None)


def _had_time(attempt: Attempt, needed_s: float | None) -> bool:
    """True unless the attempt is known to have lived for less than `needed_s`."""
    if needed_s is None or attempt.reports:
        return True
    if attempt.elapsed_s is not None:
        return attempt.elapsed_s >= needed_s
    # one that left no record of its end may have lived long
    is_known = attempt.ended_at is not None and not ended_by(attempt, Cause.REPLACED)
    return not is_known or attempt.ended_at - attempt.started_at >= needed_s  # type: ignore[operator]


def last_number(path: str) -> int | None:
    """Returns 37 for "checkpoint-37"; None if the name has no number."""
    found = _LAST_NUMBER.search(PurePath(path).name[-_LONGEST_NAME:])
    return int(found.group(1)) if found else None
