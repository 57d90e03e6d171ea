"""Finds the newest valid checkpoint of a trial, from which an attempt resumes. Half-written ones are moved aside.

A checkpoint is a directory or a file in the trial's `checkpoints/`. It is valid if it is marked: a directory by a file
COMPLETE in it, a file by a file beside it that is named NAME.COMPLETE, in both cases written last. One that looks like
Hugging Face's or DeepSpeed's must also be whole (`records.checkpoint_files`). A whole one of the Trainer needs no mark:
its script may never have heard of marks. Newest is by the last number in the name (checkpoint-37, step_37.pt), then by
the time of the mark.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hposlurm.records.checkpoint_directory import open_checkpoints
from hposlurm.records.checkpoint_files import (
    MODEL_ONLY,
    TRAINER_STATE,
    count_of_ranks,
    problem_of,
    problem_without_mark,
)
from hposlurm.records.layout import COMPLETE, marker_of
from hposlurm.records.retries import last_number
from hposlurm.worker.recorder import say

PARTIAL = "partial-"
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """An entry of `checkpoints/` that is a checkpoint or was to become one.

    `problem` is why it is not valid, else "".
    """

    path: Path
    is_marked: bool
    problem: str

    @property
    def order(self) -> tuple[int, float]:
        """A sort key: the newer the checkpoint, the larger."""
        number = last_number(self.path.name)
        written = marker_of(self.path) if self.is_marked else self.path / TRAINER_STATE
        try:
            written_at = written.stat().st_mtime
        except OSError:
            written_at = 0.0
        return (-1 if number is None else number, written_at)


def resume(directory: Path, attempt: int, announced: Iterable[str] = (), gpus: int = 0) -> Path | None:
    """Returns the newest valid checkpoint in `directory`, None if there is none.

    Renames broken ones to partial-NAME-ATTEMPT. `announced` has the names of the checkpoints that the trial reported,
    `gpus` is how many GPUs it has.
    An unmarked entry is broken if its name is like one of these or like that of a marked one, or if it is visibly half
    written. All other entries stay as they are: each may be whole, or belong to the training code, or not be a
    checkpoint. So do those that have only the model: they are results.
    """
    found = list(scan(directory, gpus))
    kinds = {_kind(name) for name in (*announced, *(c.path.name for c in found if c.is_marked))}
    for checkpoint in found:
        if checkpoint.problem and _is_broken(checkpoint, kinds):
            _move_aside(checkpoint, attempt)
    valid = [checkpoint for checkpoint in found if not checkpoint.problem]
    return max(valid, key=lambda checkpoint: checkpoint.order).path if valid else None


def _is_broken(checkpoint: Checkpoint, kinds: Collection[str]) -> bool:
    problem = problem_of(checkpoint.path)
    return problem != MODEL_ONLY and bool(problem or _kind(checkpoint.path.name) in kinds)


def _kind(name: str) -> str:
    """The name without its numbers: checkpoint-# for every checkpoint of the Trainer."""
    return _NUMBER.sub("#", name)


def scan(directory: Path, gpus: int = 0) -> Iterator[Checkpoint]:
    """Yields the entries of `directory` that are marked, or whose name has a number and which may be checkpoints."""
    paths = [path for path in _entries(directory) if not path.name.startswith((PARTIAL, "."))]
    candidates = [path for path in paths if not path.name.endswith(f".{COMPLETE}")]
    ranks = ranks_of(candidates, gpus)
    for path in candidates:
        is_marked = marker_of(path).exists()
        if is_marked or (last_number(path.name) is not None and (path.is_dir() or path.is_file())):
            yield Checkpoint(path, is_marked, problem_of(path) if is_marked else problem_without_mark(path, ranks))


def ranks_of(checkpoints: Iterable[Path], gpus: int) -> int | None:
    """Returns how many processes save the trial's checkpoints, None if that is not known: a trial has always as many.

    If there is only one checkpoint, the last ranks may not have saved: then they are at least as many as GPUs, unless
    one process uses all of them.
    """
    counts = [count for path in checkpoints if (count := count_of_ranks(each.name for each in _entries(path)))]
    if len(counts) == 1 and counts[0] > 1:
        return max(counts[0], gpus)
    return max(counts, default=None)


def _entries(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError:
        return []


def _move_aside(checkpoint: Checkpoint, attempt: int) -> None:
    path = checkpoint.path
    target = f"{PARTIAL}{path.name}-{attempt}"
    broken = f"{path} is not a whole checkpoint ({checkpoint.problem})"
    try:
        with open_checkpoints(path.parent) as directory:
            if directory.is_linked:  # another trial may be writing it
                say(f"{broken}: left as it is, since its directory is a link")
                return
            if not path.is_dir():
                directory.unmark(path.name)
            directory.rename(path.name, target)
    except OSError as error:
        say(f"{broken}, but cannot be moved aside: {error}")
    else:
        say(f"{broken}: moved aside to {target}")
