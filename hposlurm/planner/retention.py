"""Finds the checkpoints that are still needed, and deletes the others.

A trial's checkpoints are needed while it is not finished (a retry or a higher rung continues from them), while a
planned assignment starts from one of them, and if it is among the best trials whose checkpoints are kept. An incomplete
checkpoint that was moved aside is never needed. The checkpoints of trials that a finished study left paused would be
needed only if its budget were raised. `removable` says what in their directories may be deleted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hposlurm.planner.removable import Left, Removal, removable, remove
from hposlurm.records.history import History
from hposlurm.records.layout import StudyLayout
from hposlurm.records.ranking import ranked
from hposlurm.space.metric_constraints import NO_LIMITS, Limits
from hposlurm.trial import Objective, TrialState

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec


# How many best trials keep their checkpoints by default
_KEPT = 1


def no_longer_needed(
    history: History,
    objectives: Sequence[Objective],
    keep: int,
    limits: Limits = NO_LIMITS,
    *,
    with_paused: bool = False,
) -> frozenset[int]:
    """Returns the numbers of the trials whose checkpoints are no longer needed if the best `keep` trials keep theirs.

    `with_paused` adds the trials that are paused at a rung of a study that is over, and has not paused itself.
    """
    over = (TrialState.PAUSED,) if with_paused and history.finished and not history.paused else ()
    finished = {trial.number for trial in history.trials if trial.state.is_finished or trial.state in over}
    best = {trial.number for trial in ranked(history.trials, objectives, limits)[:keep]}
    return frozenset(finished - best - _parents(history))


def _parents(history: History) -> set[int]:
    """Returns the trials with a checkpoint from which another trial starts, which may not have its own copy yet."""
    begin = [t.stages[0].resume_from for t in history.trials if len(t.stages) == 1 and not t.state.is_finished]
    last = history.plans[-1].assignments if history.plans else ()
    parts = [Path(path).parts for path in (*begin, *(a.resume_from for a in last)) if path is not None]
    names = [p[i + 1] for p in parts for i, part in enumerate(p[:-1]) if part == "trials"]
    return {int(name) for name in names if name.isdecimal()}


@dataclass(frozen=True, slots=True)
class Cleared:
    """The result of deleting a study's checkpoints, or of a dry run."""

    #: The deleted files, by trial.
    removals: tuple[Removal, ...]
    #: How many best trials keep their checkpoints.
    keep: int
    #: What was left beside them, and why.
    left: tuple[Left, ...] = ()
    #: The errors of paths that could not be deleted.
    problems: tuple[OSError, ...] = ()


def clear(
    layout: StudyLayout, spec: StudySpec, history: History, keep: int | None = None, *, dry_run: bool = False
) -> Cleared:
    """Deletes the checkpoints that are no longer needed, including those of paused trials of a finished study.

    The best `keep` trials keep theirs; the default is the study's own number, or one.
    """
    if keep is None:
        keep = _KEPT if spec.trial.keep_checkpoints is None else spec.trial.keep_checkpoints
    unneeded = no_longer_needed(history, spec.objectives, keep, spec.limits, with_paused=True)
    found, left = removable(layout, history.trials, unneeded)
    problems = [error for removal in found if not dry_run for error in remove(removal)]
    return Cleared(tuple(found), keep, tuple(left), tuple(problems))


def tidy(layout: StudyLayout, spec: StudySpec, history: History) -> None:
    """Deletes unneeded checkpoints after a wave and while a refill wave runs, if the study sets a number to keep.

    Only this and `clear` delete checkpoints.
    """
    if spec.trial.keep_checkpoints is not None:
        unneeded = no_longer_needed(history, spec.objectives, spec.trial.keep_checkpoints, spec.limits)
        for removal in removable(layout, history.trials, unneeded)[0]:
            remove(removal)  # what fails now is retried the next time
