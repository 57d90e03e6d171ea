"""Finds attempts that trained again what the trial had trained already, although they were to continue. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath

from hposlurm.trial import Attempt, Trial


@dataclass(frozen=True, slots=True)
class StartOver:
    """An attempt that was to continue and started from nothing."""

    stage: int
    #: the step after which it was to continue
    from_step: int
    #: the first step that it reported
    first: int
    #: the name of the checkpoint that it was given and did not load; "" if it was given none
    unread: str

    @property
    def text(self) -> str:
        why = f"it did not load its checkpoint {self.unread}" if self.unread else "it had no checkpoint"
        return f"started from nothing at step {self.first}, not after step {self.from_step}: {why}"


def starts_over(trial: Trial) -> tuple[StartOver, ...]:
    """Returns the attempts that started from nothing, in order.

    Only its reports show where an attempt started. One that only reports steps after `from_step` has continued, by
    itself where it was given no checkpoint.
    """
    begins = {stage.number: stage.from_step for stage in trial.stages}
    found = (_start_over(trial, attempt, begins.get(attempt.stage, 0)) for attempt in trial.attempts)
    return tuple(each for each in found if each)


def _start_over(trial: Trial, attempt: Attempt, from_step: int) -> StartOver | None:
    first = min((report.step for report in attempt.reports), default=None)
    if first is None:
        return None
    if attempt.resumed_from is None:
        return StartOver(attempt.stage, from_step, first, "") if 0 < first <= from_step else None
    name = PurePath(attempt.resumed_from).name
    begin = _saved_at(trial, attempt, name) or from_step
    return StartOver(attempt.stage, begin, first, name) if first < begin else None  # at `begin` it evaluates again


def _saved_at(trial: Trial, attempt: Attempt, name: str) -> int | None:
    """Returns the step of a checkpoint by the report of an earlier attempt; None if none reported it."""
    saved = (c for a in trial.attempts if a.number < attempt.number for c in a.checkpoints)
    return max((step for step, path in saved if PurePath(path).name == name), default=None)
