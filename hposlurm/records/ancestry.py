"""The trials that a trial was copied from, back to the first. A single run can replay the values along this line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath

from hposlurm.records.history import History
from hposlurm.trial import Params, Trial


@dataclass(frozen=True, slots=True)
class Leg:
    """A part of the training, from `step` up to the next leg's step, done by `trial` with `params`."""

    step: int
    trial: int
    params: Params


def legs(history: History, trial: Trial) -> tuple[Leg, ...]:
    """Returns how the trial's model was trained, from step 0 on: one leg for each trial of its line."""
    found = [Leg(_begin(history, trial), trial.number, trial.params)]
    while (parent := _parent(history, trial)) is not None:
        trial = parent
        begin = _begin(history, trial)
        if begin < found[0].step:  # else it was copied before it had trained
            found.insert(0, Leg(begin, trial.number, trial.params))
    return tuple(found)


def _parent(history: History, trial: Trial) -> Trial | None:
    number = trial.attrs.get("parent")
    return history.trial(number) if isinstance(number, int) and 0 <= number < trial.number else None


def _begin(history: History, trial: Trial) -> int:
    """Returns the step of the checkpoint that a copy began with, which may be before the step of the decision."""
    parent = _parent(history, trial)
    if parent is None or not trial.stages:
        return 0
    first = trial.stages[0]
    name = PurePath(first.resume_from or "").name
    saved = [c for attempt in parent.attempts for c in attempt.checkpoints]
    return max((step for step, path in saved if PurePath(path).name == name), default=first.from_step)
