"""Which checkpoints are still needed, and what takes the others away.

A trial's checkpoints are needed while it is not finished (a retry or a further rung goes on from them), while a planned
assignment begins with one of them, and of the best trials, as many as are to be kept. What was moved aside half written
is never needed. Trials that a finished study left paused would be needed only if its budget were raised.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hposlurm.records.history import History, ranked
from hposlurm.records.layout import StudyLayout, marker_of
from hposlurm.space.metric_constraints import NO_LIMITS, Limits
from hposlurm.trial import Objective, TrialState
from hposlurm.worker.checkpoints import PARTIAL

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec


# Of how many best trials checkpoints stay, unless the study or a person says otherwise
_KEPT = 1


@dataclass(frozen=True, slots=True)
class Removal:
    """What is, or would be, taken away of one trial: the paths, and how many bytes they use together."""

    trial: int
    paths: tuple[Path, ...]
    size: int


def no_longer_needed(
    history: History,
    objectives: Sequence[Objective],
    keep: int,
    limits: Limits = NO_LIMITS,
    *,
    with_paused: bool = False,
) -> frozenset[int]:
    """Numbers of the trials whose checkpoints nothing needs any more, if those of the best `keep` are to stay.

    `with_paused`: nor are those needed that a study which is over left paused.
    """
    over = (TrialState.PAUSED,) if with_paused and history.finished is not None else ()
    finished = {trial.number for trial in history.trials if trial.state.is_finished or trial.state in over}
    best = {trial.number for trial in ranked(history.trials, objectives, limits)[:keep]}
    return frozenset(finished - best - _parents(history))


def _parents(history: History) -> set[int]:
    """Trials with a checkpoint that another one begins with, which may not have its own copy yet."""
    begin = [t.stages[0].resume_from for t in history.trials if len(t.stages) == 1 and not t.state.is_finished]
    last = history.plans[-1].assignments if history.plans else ()
    parts = [Path(path).parts for path in (*begin, *(a.resume_from for a in last)) if path is not None]
    names = [p[i + 1] for p in parts for i, part in enumerate(p[:-1]) if part == "trials"]
    return {int(name) for name in names if name.isdecimal()}


def removals(
    layout: StudyLayout,
    history: History,
    objectives: Sequence[Objective],
    keep: int,
    limits: Limits = NO_LIMITS,
    *,
    with_paused: bool = False,
) -> list[Removal]:
    """What can be taken away now, trial by trial; trials of which nothing is there are not in it."""
    unneeded = no_longer_needed(history, objectives, keep, limits, with_paused=with_paused)
    found = []
    for trial in history.trials:
        try:
            entries = sorted(layout.trial(trial.number).checkpoints.iterdir())
        except OSError:
            continue
        paths = tuple(p for p in entries if trial.number in unneeded or p.name.startswith(PARTIAL))
        if paths:
            found.append(Removal(trial.number, paths, sum(map(_size, paths))))
    return found


@dataclass(frozen=True, slots=True)
class Cleared:
    """What was deleted of a study, or would be."""

    #: by trial
    removals: tuple[Removal, ...]
    #: of how many best trials the checkpoints stay
    keep: int
    #: paths that could not be deleted
    problems: tuple[OSError, ...] = ()


def clear(
    layout: StudyLayout, spec: StudySpec, history: History, keep: int | None = None, *, dry_run: bool = False
) -> Cleared:
    """Deletes checkpoints that nothing needs any more, those of paused trials of a finished study too.

    Those of the best `keep` trials stay, by default of as many as the study says, or of one.
    """
    if keep is None:
        keep = _KEPT if spec.trial.keep_checkpoints is None else spec.trial.keep_checkpoints
    found = removals(layout, history, spec.objectives, keep, spec.limits, with_paused=True)
    problems = [error for removal in found if not dry_run for error in remove(removal)]
    return Cleared(tuple(found), keep, tuple(problems))


def remove(removal: Removal) -> list[OSError]:
    """Takes the checkpoints away; what could not be. Their marks go first: half removed, none must look whole."""
    problems: list[OSError] = []
    for path in removal.paths:
        try:
            marker_of(path).unlink(missing_ok=True)
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            problems.append(error)
    return problems


def _size(path: Path) -> int:
    """Bytes on the disk; what vanishes meanwhile counts for nothing."""
    total = 0
    for folder, _, names in os.walk(path):
        total += sum(_used(Path(folder) / name) for name in names)
    return total or _used(path)


def _used(path: Path) -> int:
    try:
        return path.lstat().st_blocks * 512
    except OSError:
        return 0


def tidy(layout: StudyLayout, spec: StudySpec, history: History) -> None:
    """What the planner does once a wave has ended, and what is done while a refill wave runs, if the study says how
    many are to be kept; nothing else deletes.
    """
    if spec.trial.keep_checkpoints is not None:
        for removal in removals(layout, history, spec.objectives, spec.trial.keep_checkpoints, spec.limits):
            remove(removal)  # what fails now is tried again the next time
