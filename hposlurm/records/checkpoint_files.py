"""Judges by its files if a checkpoint of the Hugging Face Trainer or DeepSpeed is whole. Standard library only.

The Trainer writes model, optimizer, schedule and the random state of rank 0 one after the other, then
`trainer_state.json`; each other rank writes its random state when it gets there. With DeepSpeed and FSDP each rank also
writes a shard of the optimizer. What else lies in a checkpoint directory is not judged.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Collection, Iterable
from pathlib import Path

from hposlurm.records.files import from_json
from hposlurm.records.layout import COMPLETE
from hposlurm.records.reading import read_whole

#: The problem of what a Trainer with `save_only_model` leaves: a result, but nothing to continue from.
MODEL_ONLY = "only the model: no optimizer, schedule and random state"
TRAINER_STATE = "trainer_state.json"
_LONGEST_TAG = 4096  # bytes of `latest`, which holds the name of a directory
_TRAINER_PARTS = ("training_args.bin", "rng_state*.pth")  # which no other script writes
_DEEPSPEED_PARTS = ("latest", "global_step*")
_SHARD = re.compile(r"(?:bf16_)?zero_pp_rank_(\d+)_mp_rank_(\d+)_optim_states\.pt")
_RNG = re.compile(r"rng_state(?:_(\d+))?\.pth")
_OPTIMIZER = re.compile(r"(?:rank\d+-of-\d+-)?optimizer(?:\.pt(?:_.*)?|\.bin|_\d+)")  # also of XLA, SageMaker and FSDP
_SCHEDULE = "scheduler.pt"
_MODEL = re.compile(r".*\.safetensors|(?:pytorch|adapter)_model.*")
_MODEL_SHARD = re.compile(r"(.*)-\d+-of-(\d+)\..*")


def problem_of(path: Path, ranks: int | None = None) -> str:
    """The reason why a checkpoint is not whole, although it may be marked; "" if none was found.

    `ranks` is how many processes trained, if known.
    """
    if not path.is_dir():
        return "" if path.is_file() else "neither a file nor a directory"
    try:
        return _hugging_face_problem(path, ranks) or _deepspeed_problem(path)
    except OSError as error:
        return f"cannot be read: {error}"


def problem_without_mark(path: Path, ranks: int | None = None) -> str:
    """The reason why a checkpoint without a mark does not count; "" if it is whole and the Trainer's.

    Its script may be writing it right now, or over an older one: `trainer_state.json` must be newer than what rank 0
    writes before, and the random states of the other ranks must have their ends.
    """
    try:
        if not (path / TRAINER_STATE).is_file():
            return f"no {COMPLETE} mark"
        entries = {entry.name: entry for entry in path.iterdir()}
        if problem := problem_of(path, ranks) or _model_problem(path, list(entries)):
            return problem
        states = {name: entry for name, entry in entries.items() if _RNG.fullmatch(name)}
        written_at = entries[TRAINER_STATE].stat().st_mtime_ns
        if any(each.stat().st_mtime_ns > written_at for name, each in entries.items() if name not in states):
            return f"it is newer than its {TRAINER_STATE}"
        torn = [name for name, entry in states.items() if not zipfile.is_zipfile(entry)]  # torch.save's format
        return f"{torn[0]} is damaged" if torn else ""
    except OSError as error:
        return f"cannot be read: {error}"


def _model_problem(path: Path, names: Collection[str]) -> str:
    models = [name for name in names if _MODEL.fullmatch(name)]
    if not models and not _has_any(path, (*_DEEPSPEED_PARTS, "*/adapter_model*")):
        return "no model"
    shards = [match.groups() for name in models if (match := _MODEL_SHARD.fullmatch(name))]
    return "" if all(shards.count(shard) == int(shard[1]) for shard in shards) else "a part of the model is missing"


def _hugging_face_problem(path: Path, ranks: int | None) -> str:
    state = path / TRAINER_STATE
    if not state.exists():
        return f"no {TRAINER_STATE}" if _has_any(path, _TRAINER_PARTS) else ""
    try:
        is_state = isinstance(from_json(read_whole(state)), dict)
    except ValueError:
        is_state = False
    return _missing(path, ranks) if is_state else f"{TRAINER_STATE} is damaged"


def _missing(path: Path, ranks: int | None) -> str:
    """The first part of a Trainer's checkpoint that is missing or empty; "" if none is."""
    names = [entry.name for entry in path.iterdir()]
    optimizers, states = list(filter(_OPTIMIZER.fullmatch, names)), list(filter(_RNG.fullmatch, names))
    if not _has_any(path, _DEEPSPEED_PARTS):  # which has the optimizer, and perhaps the schedule, in its shards
        if not (optimizers or states or _SCHEDULE in names):
            return MODEL_ONLY
        if not optimizers:
            return "no optimizer"
        if _SCHEDULE not in names:
            return f"no {_SCHEDULE}"
    sized = [name for name in (*optimizers, *states, _SCHEDULE) if name in names and (path / name).is_file()]
    empty = [name for name in sized if (path / name).stat().st_size == 0]
    return f"{empty[0]} is empty" if empty else _rng_problem(states, ranks)


def _rng_problem(names: Collection[str], ranks: int | None) -> str:
    if not names:
        return "no random state"
    if "rng_state.pth" in names and (ranks or 1) == 1:
        return ""
    count = ranks or count_of_ranks(names)
    missing = [rank for rank in range(count or 0) if f"rng_state_{rank}.pth" not in names]
    return f"no random state of rank {missing[0]}" if missing else ""


def _deepspeed_problem(path: Path) -> str:
    latest = path / "latest"
    if not latest.exists():
        return "no latest, which names DeepSpeed's directory" if _has_any(path, _DEEPSPEED_PARTS) else ""
    tag = read_whole(latest, _LONGEST_TAG).decode(errors="replace").strip()
    if not tag or not (path / tag).is_dir():
        return f"latest names {tag!r}, which is not a directory"
    return _shard_problem(path / tag, count_of_ranks(entry.name for entry in path.iterdir()))


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


def count_of_ranks(names: Iterable[str]) -> int | None:
    """The number of ranks that saved, counted by their files of random states; None if there are none."""
    numbers = [m.group(1) for name in names if (m := _RNG.fullmatch(name))]
    if not numbers:
        return None
    # a single process writes no number into the name
    return 1 if numbers == [None] else max(2, *(1 + int(number or 0) for number in numbers))


def _has_any(path: Path, patterns: tuple[str, ...]) -> bool:
    return any(any(path.glob(pattern)) for pattern in patterns)
