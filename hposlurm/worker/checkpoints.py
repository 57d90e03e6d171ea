"""Finds the newest valid checkpoint of a trial, from which an attempt resumes. Half-written ones are moved aside.

A checkpoint is a directory or a file in the trial's `checkpoints/`. It is valid if it is marked: a directory by a file
COMPLETE in it, a file by a file beside it that is named NAME.COMPLETE, in both cases written last. One that looks like
Hugging Face's or DeepSpeed's must also be whole: a `trainer_state.json` that can be read, a `latest` that names a
directory, a shard of the optimizer from every rank. Newest is by the last number in the name (checkpoint-37,
step_37.pt), then by the time of the mark.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hposlurm.records.checkpoint_directory import open_checkpoints
from hposlurm.records.files import from_json
from hposlurm.records.layout import COMPLETE, marker_of
from hposlurm.records.reading import read_whole
from hposlurm.records.retries import last_number
from hposlurm.worker.recorder import say

PARTIAL = "partial-"
_TRAINER_STATE = "trainer_state.json"
_LONGEST_TAG = 4096  # bytes of `latest`, which holds the name of a directory
_NUMBER = re.compile(r"\d+")
_TRAINER_PARTS = ("training_args.bin", "rng_state*.pth")  # which no other script writes
_DEEPSPEED_PARTS = ("latest", "global_step*")
_SHARD = re.compile(r"(?:bf16_)?zero_pp_rank_(\d+)_mp_rank_(\d+)_optim_states\.pt")
_RNG = re.compile(r"rng_state(?:_(\d+))?\.pth")


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
        try:
            marked_at = marker_of(self.path).stat().st_mtime
        except OSError:
            marked_at = 0.0
        return (-1 if number is None else number, marked_at)


def resume(directory: Path, attempt: int, announced: Iterable[str] = ()) -> Path | None:
    """Returns the newest valid checkpoint in `directory`, None if there is none.

    Renames broken ones to partial-NAME-ATTEMPT. `announced` has the names of the checkpoints that the trial reported.
    An unmarked entry is broken if its name is like one of these or like that of a marked one, or if it is visibly half
    written. All other entries stay as they are: each may be whole, or belong to the training code, or not be a
    checkpoint.
    """
    found = list(scan(directory))
    kinds = {_kind(name) for name in (*announced, *(c.path.name for c in found if c.is_marked))}
    for checkpoint in found:
        if checkpoint.problem and (_kind(checkpoint.path.name) in kinds or problem_of(checkpoint.path)):
            _move_aside(checkpoint, attempt)
    valid = [checkpoint for checkpoint in found if not checkpoint.problem]
    return max(valid, key=lambda checkpoint: checkpoint.order).path if valid else None


def _kind(name: str) -> str:
    """The name without its numbers: checkpoint-# for every checkpoint of the Trainer."""
    return _NUMBER.sub("#", name)


def scan(directory: Path) -> Iterator[Checkpoint]:
    """Yields the entries of `directory` that are marked, or whose name has a number and which may be checkpoints."""
    try:
        paths = sorted(directory.iterdir())
    except OSError:
        return
    for path in paths:
        if path.name.startswith((PARTIAL, ".")) or path.name.endswith(f".{COMPLETE}"):
            continue
        is_marked = marker_of(path).exists()
        if is_marked or (last_number(path.name) is not None and (path.is_dir() or path.is_file())):
            yield Checkpoint(path, is_marked, problem_of(path) if is_marked else f"no {COMPLETE} mark")


def problem_of(path: Path) -> str:
    """The reason why a checkpoint is not whole, although it may be marked; "" if none was found."""
    if not path.is_dir():
        return "" if path.is_file() else "neither a file nor a directory"
    try:
        return _hugging_face_problem(path) or _deepspeed_problem(path)
    except OSError as error:
        return f"cannot be read: {error}"


def _hugging_face_problem(path: Path) -> str:
    state = path / _TRAINER_STATE
    if not state.exists():
        return f"no {_TRAINER_STATE}" if _has_any(path, _TRAINER_PARTS) else ""
    try:
        is_state = isinstance(from_json(read_whole(state)), dict)
    except ValueError:
        is_state = False
    return "" if is_state else f"{_TRAINER_STATE} is damaged"


def _deepspeed_problem(path: Path) -> str:
    latest = path / "latest"
    if not latest.exists():
        return "no latest, which names DeepSpeed's directory" if _has_any(path, _DEEPSPEED_PARTS) else ""
    tag = read_whole(latest, _LONGEST_TAG).decode(errors="replace").strip()
    if not tag or not (path / tag).is_dir():
        return f"latest names {tag!r}, which is not a directory"
    return _shard_problem(path / tag, _ranks(path))


def _shard_problem(shards: Path, ranks: int | None) -> str:
    """The first file of DeepSpeed's ranks that is missing or empty; "" if none is.

    `ranks` is their number, if known.
    """
    names = {entry.name: entry for entry in shards.iterdir()}
    empty = sorted(name for name, entry in names.items() if entry.is_file() and entry.stat().st_size == 0)
    if empty:
        return f"{empty[0]} is empty"
    if not any(name.endswith("_model_states.pt") for name in names):
        return "no model states"
    found = {(int(m.group(1)), int(m.group(2))) for name in names if (m := _SHARD.fullmatch(name))}
    if not found:
        return ""  # without ZeRO the optimizer is in the model states
    width, height = max(rank for rank, _ in found) + 1, max(rank for _, rank in found) + 1
    wanted = ranks or width * height
    if len(found) != width * height or len(found) != wanted:
        return f"{len(found)} optimizer shards of {max(wanted, width * height)} ranks"
    return ""


def _ranks(path: Path) -> int | None:
    """The number of ranks that saved, counted by their files of random states; None if there are none."""
    numbers = [m.group(1) for entry in path.iterdir() if (m := _RNG.fullmatch(entry.name))]
    if not numbers:
        return None
    return 1 if numbers == [None] else 1 + max(int(number or 0) for number in numbers)


def _has_any(path: Path, patterns: tuple[str, ...]) -> bool:
    return any(any(path.glob(pattern)) for pattern in patterns)


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
