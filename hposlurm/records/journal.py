"""The journal of one attempt: JSON lines that one writer appends and anyone reads. Standard library only.

A line is written by one `write()` on an `O_APPEND` descriptor. A writer that is killed in the middle leaves a torn last
line: readers leave it alone, and the next append first closes it with a newline, so that no two records ever glue.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hposlurm.records.cause_text import sentence
from hposlurm.trial import EndCause, Outcome, is_finite

_LONGEST_TEXT = 200


@dataclass(frozen=True, slots=True)
class Tail:
    """What was read behind an offset: whole records, where the next read starts, and how many lines were unreadable."""

    records: tuple[dict[str, Any], ...]
    offset: int
    corrupt: int = 0


def open_journal(path: Path) -> int:
    """Creates the journal and returns its descriptor; raises FileExistsError if another writer has claimed it."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)


def append(fd: int, record: Mapping[str, Any], *, durable: bool = True) -> None:
    """Writes `record` as one line at the end of `fd` (readable and writable), fsynced if `durable`.

    Raises OSError if the line could not be written whole or not be synced (appending it again then does no harm), and
    ValueError for a record with a number that is not finite.
    """
    line = json.dumps(record, allow_nan=False, separators=(",", ":")).encode() + b"\n"
    size = os.fstat(fd).st_size
    if size and os.pread(fd, 1, size - 1) != b"\n":
        line = b"\n" + line
    if os.write(fd, line) != len(line):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if durable:
        os.fsync(fd)


def end_fields(
    outcome: Outcome,
    cause: EndCause | None,
    *,
    exit_code: int | None = None,
    metrics: Mapping[str, float | str] | None = None,
    tail: Sequence[str] = (),
) -> dict[str, Any]:
    """Returns the fields of a record of kind "end"; one without a `cause` (null where there is none) is of format 1."""
    return {
        "outcome": outcome,
        "reason": sentence(cause),
        "cause": None if cause is None else cause.to_json(),
        "exit_code": exit_code,
        "metrics": dict(metrics or {}),
        "tail": list(tail),
    }


def read(path: Path, offset: int = 0) -> Tail:
    """The whole lines of `path` from byte `offset` on; raises OSError if the file cannot be read.

    `offset` is 0 or an earlier Tail's. A last line without its newline is left for the next read; a line that holds no
    JSON object is skipped and counted.
    """
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read()
    whole = data.rfind(b"\n") + 1
    records = [parse_line(line) for line in data[:whole].split(b"\n")[:-1]]
    good = tuple(record for record in records if record is not None)
    return Tail(good, offset + whole, len(records) - len(good))


def parse_line(line: bytes) -> dict[str, Any] | None:
    """The JSON object in `line`, None if there is none."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def metric_value(value: object) -> float | str:
    """A metric as journals hold it: a finite number, one of "nan", "inf" and "-inf", or the text of what is no number.

    Scalars of NumPy and PyTorch count as numbers, and so does the text of a number; yes and no do not. Never raises.
    """
    try:
        item = getattr(value, "item", None)  # arrays and tensors of one element, of whatever dimension
        scalar = item() if callable(item) else value
        if isinstance(scalar, bool):
            return _text(scalar)
        number = float(scalar)  # type: ignore[arg-type]
    except Exception:  # whatever a foreign type raises
        return _text(value)
    return number if is_finite(number) else str(number)


def _text(value: object) -> str:
    try:
        return str(value)[:_LONGEST_TEXT]
    except Exception:  # a foreign type's own __str__
        return f"<{type(value).__name__}>"
