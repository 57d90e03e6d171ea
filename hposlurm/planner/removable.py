"""Lists what may be deleted in the checkpoint directories of a study, and what else is there.

A training script writes into its checkpoint directory, and may put anything there. Deleted is only what is marked as a
checkpoint, what the trial has reported as one, and what hposlurm itself has named. If the directory is a link, other
trials and programs may use it: then only marked checkpoints of this user are deleted, and none if another trial uses
the same place.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from hposlurm.records.checkpoint_directory import CheckpointDirectory, open_checkpoints
from hposlurm.records.layout import COMPLETE, StudyLayout
from hposlurm.trial import Trial
from hposlurm.worker.checkpoints import PARTIAL
from hposlurm.worker.handover import COPY

_NOT_A_CHECKPOINT = "neither marked nor reported as a checkpoint"
_NOT_MARKED = f"the checkpoint directory is a link, and without a {COMPLETE} mark nothing is deleted there"
_IN_USE = "the checkpoint directory is a link to a place that another trial or study uses"
_OF_OTHERS = "belongs to another user"


@dataclass(frozen=True, slots=True)
class Removal:
    """The files of one trial to delete."""

    trial: int
    paths: tuple[Path, ...]
    #: How many bytes the paths use together.
    size: int


@dataclass(frozen=True, slots=True)
class Left:
    """Files that stay in a place from which the checkpoints of a trial are deleted."""

    paths: tuple[Path, ...]
    why: str


def removable(
    layout: StudyLayout, trials: Sequence[Trial], unneeded: Collection[int]
) -> tuple[list[Removal], list[Left]]:
    """Returns what can be deleted, by trial, and what stays though its trial needs no checkpoints (`unneeded`).

    Of the other trials only incomplete checkpoints that were moved aside are deleted.
    """
    removals: list[Removal] = []
    left: dict[Left, None] = {}
    places = _Places(layout, trials)
    for trial in trials:
        path = layout.trial(trial.number).checkpoints
        try:
            with open_checkpoints(path) as directory:
                found, others = _sorted_out(directory, trial, places, is_unneeded=trial.number in unneeded)
                if found:
                    size = sum(map(directory.used_bytes, found))
                    removals.append(Removal(trial.number, _paths(directory, found), size))
                left.update(dict.fromkeys(others))
        except FileNotFoundError:
            continue
        except OSError as error:
            left[Left((Path(error.filename or path),), error.strerror or str(error))] = None
    return removals, list(left)


class _Places:
    """The real paths of the study and of its trials' checkpoint directories."""

    def __init__(self, layout: StudyLayout, trials: Sequence[Trial]) -> None:
        self._layout, self._trials = layout, trials

    @cached_property
    def _real(self) -> dict[str, str]:
        """By the path in the study. Needed only if a checkpoint directory is a link."""
        own = (self._layout.trial(trial.number).checkpoints for trial in self._trials)
        return {str(path): os.path.realpath(path) for path in (self._layout.root, *own)}

    def is_shared(self, directory: Path) -> bool:
        """True if a linked directory is also that of another trial, or lies in the directory of one, of any study."""
        real = Path(os.path.realpath(directory))
        others = (place for path, place in self._real.items() if path != str(directory))
        trial = os.path.realpath(directory.parent)
        return str(real) in others or any(
            (above / "trial.json").exists() and str(above) != trial for above in (real, *real.parents)
        )

    def has_within(self, directory: Path, name: str) -> bool:
        """True if the study, or a checkpoint directory of it, lies in the entry `name` of a linked directory."""
        entry = os.path.join(os.path.realpath(directory), name)  # noqa: PTH118 - text, compared with many
        return any(place == entry or place.startswith(f"{entry}/") for place in self._real.values())


def _sorted_out(
    directory: CheckpointDirectory, trial: Trial, places: _Places, *, is_unneeded: bool
) -> tuple[list[str], list[Left]]:
    """Returns the names to delete, and what else is there."""
    if not is_unneeded:
        return [] if directory.is_linked else [n for n in directory.names() if n.startswith(PARTIAL)], []
    if directory.is_linked and places.is_shared(directory.path):
        return [], [Left((directory.path,), _IN_USE)]
    reported = {Path(path).name for attempt in trial.attempts for _, path in attempt.checkpoints}
    whys = {name: _why_left(directory, name, reported, places) for name in _without_marks(directory)}
    reasons = dict.fromkeys(why for why in whys.values() if why)
    left = [Left(_paths(directory, (n for n, why in whys.items() if why == reason)), reason) for reason in reasons]
    return [name for name, why in whys.items() if not why], left


def _without_marks(directory: CheckpointDirectory) -> list[str]:
    """Returns the names of all entries but the marks, which are deleted with their files."""
    names = directory.names()
    marks = {f"{name}.{COMPLETE}" for name in names}
    return [name for name in names if name not in marks]


def _why_left(directory: CheckpointDirectory, name: str, reported: Collection[str], places: _Places) -> str:
    """Returns why an entry of a trial without need for it is not deleted; "" if it is."""
    if directory.is_linked:
        return _why_left_in_link(directory, name, places)
    is_ours = name in reported or name.startswith((PARTIAL, COPY))
    return "" if is_ours or directory.is_marked(name) else _NOT_A_CHECKPOINT


def _why_left_in_link(directory: CheckpointDirectory, name: str, places: _Places) -> str:
    if not directory.is_marked(name):
        return _NOT_MARKED
    if not directory.is_own(name):
        return _OF_OTHERS
    return _IN_USE if places.has_within(directory.path, name) else ""


def _paths(directory: CheckpointDirectory, names: Iterable[str]) -> tuple[Path, ...]:
    return tuple(directory.path / name for name in names)


def remove(removal: Removal) -> list[OSError]:
    """Deletes the checkpoints and returns the errors."""
    problems: list[OSError] = []
    try:
        with open_checkpoints(removal.paths[0].parent) as directory:
            for path in removal.paths:
                if not directory.is_linked or directory.is_marked(path.name):  # it may have become a link meanwhile
                    problems += directory.remove(path.name)
    except OSError as error:
        problems.append(error)
    return problems
