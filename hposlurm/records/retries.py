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

_LAST_NUMBER = re.compile(r"(\d+)\D*$")
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
        saved = [(step, _number(path)) for step, path in attempt.checkpoints]
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

    Either two failures ended at the same step in the same way (reaching the time limit counts as the same at any step),
    or INTERRUPTIONS attempts in a row were interrupted without progress.
    """
    reach = _Reach()
    interruptions = 0
    failure: Attempt | None = None
    for attempt in attempts:
        if reach.extend(attempt):
            interruptions, failure = 0, None
        if attempt.outcome is Outcome.INTERRUPTED and attempt.job_state is not JobState.CANCELLED:
            interruptions += 1
            if interruptions >= INTERRUPTIONS:
                return EndCause(Cause.NO_PROGRESS, step=reach.step, count=interruptions, attempts=(attempt.number,))
        if attempt.outcome is Outcome.FAIL:
            if failure is not None and _is_same(failure, attempt, reach):
                return EndCause(Cause.NO_PROGRESS, step=reach.step, attempts=(failure.number, attempt.number))
            failure = attempt
    return None


def _is_same(one: Attempt, other: Attempt, reach: _Reach) -> bool:
    if ended_by(one, Cause.TIME_LIMIT) and ended_by(other, Cause.TIME_LIMIT):
        return True
    return reach.step is not None and one.cause is not None and one.cause == other.cause


def _number(path: str) -> int:
    """Returns 37 for "checkpoint-37"; -1 if the name has no number."""
    found = _LAST_NUMBER.search(PurePath(path).name)
    return int(found.group(1)) if found else -1
