"""The journal of one attempt: JSON lines with one writer and any number of readers. Standard library only.

A line is written by one `write()` on an `O_APPEND` descriptor. A writer that is killed in the middle leaves an
incomplete last line. Readers ignore it, and the next append first ends it with a newline, so that two records are never
joined.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hposlurm.records.cause_text import sentence
from hposlurm.records.permissions import open_file
from hposlurm.records.reading import open_regular
from hposlurm.trial import EndCause, Outcome, is_finite

_LONGEST_TEXT = 200
_BLOCK = 2**20
# Bytes of a line: the longest record has some thousand metrics, or the last lines of an output
_LONGEST_LINE = 16 * 2**20
# Bytes of one read, so that each has an end. The journal of 10 million reports has about this size
_MOST_BYTES = 2**30
# Only a line with such a number may have one out of range; looking at every number would double the time
_LARGE = re.compile(rb"[0-9]{19}|[eE]\+?[0-9]{3}")


@dataclass(frozen=True, slots=True)
class Tail:
    """The records of a journal after an offset."""

    records: tuple[dict[str, Any], ...]
    #: Where the next read starts.
    offset: int
    #: How many lines could not be read.
    corrupt: int = 0


def open_journal(path: Path) -> int:
    """Creates the journal and returns its descriptor; raises FileExistsError if another writer has claimed it."""
    return open_file(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND)


def append(fd: int, record: Mapping[str, Any], *, durable: bool = True) -> None:
    """Writes `record` as one line at the end of `fd` (readable and writable), with fsync if `durable`.

    Raises OSError if the line could not be written completely or not be synced; the caller may append it again. Raises
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
    """Returns the fields of a record of kind "end".

    `cause` is null where there is none. A record without that key was written by an older version.
    """
    return {
        "outcome": outcome,
        "reason": sentence(cause),
        "cause": None if cause is None else cause.to_json(),
        "exit_code": exit_code,
        "metrics": dict(metrics or {}),
        "tail": list(tail),
    }


def read(path: Path, offset: int = 0) -> Tail:
    """Reads the complete lines of `path` from byte `offset` on; raises OSError if the file cannot be read.

    `offset` is 0 or that of an earlier Tail. A last line without a newline is left for the next read. A line that is
    not a record is skipped and counted.
    """
    good: list[dict[str, Any]] = []
    corrupt = 0
    for block in blocks(path, offset):
        records = [parse_record(line) for line in block.split(b"\n")[:-1]]
        good += [record for record in records if record is not None]
        corrupt += records.count(None)
        offset += len(block)
    return Tail(tuple(good), offset, corrupt)


def records_in(block: bytes) -> Iterator[dict[str, Any]]:
    """Yields the records in a block of lines; leaves out lines that are not records."""
    records = (parse_record(line) for line in block.split(b"\n")[:-1])
    return (record for record in records if record is not None)


def blocks(path: Path, offset: int = 0) -> Iterator[bytes]:
    """Yields the complete lines of `path` from byte `offset` on, about a MiB at a time, as they are in the file.

    At most a bounded part of the file is read. Raises OSError if it cannot be read or is not a regular file.
    """
    with open_regular(path) as file:
        file.seek(offset)
        rest, end = b"", offset + _MOST_BYTES
        while file.tell() < end and (data := file.read(_BLOCK)):
            whole = data.rfind(b"\n") + 1
            if whole:
                yield rest + data[:whole]
                rest = data[whole:]
            elif len(rest) < _LONGEST_LINE:
                rest += data
            else:  # a sparse or a foreign file: one line that is not a record, and no more for this time
                yield rest[:-1] + b"\n"
                return


def parse_record(line: bytes) -> dict[str, Any] | None:
    """Returns the record in a line of a journal; None if there is none, or one with a number that no worker writes."""
    if len(line) > _LONGEST_LINE:
        return None
    try:
        record = _STRICT.decode(line.decode("utf-8", "surrogatepass"))
        is_record = isinstance(record, dict) and (not _LARGE.search(line) or _is_in_range(record))
    except (ValueError, RecursionError):
        return None
    return record if is_record else None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


# NaN and Infinity are not JSON; journals have them as text
_STRICT = json.JSONDecoder(parse_constant=_refuse_constant)


def _is_in_range(value: object) -> bool:
    """True if all numbers in `value` are finite, and all integers fit into a database."""
    if isinstance(value, dict):
        return all(map(_is_in_range, value.values()))
    if isinstance(value, list):
        return all(map(_is_in_range, value))
    return is_finite(value) if isinstance(value, float) else not isinstance(value, int) or abs(value) < 2**63


def parse_line(line: bytes) -> dict[str, Any] | None:
    """Returns the JSON object in `line`; None if there is none."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def metric_value(value: object) -> float | str:
    """Returns a metric as journals store it: a finite number, "nan", "inf", "-inf", or the text of any other value.

    Scalars of NumPy and PyTorch and the text of a number count as numbers; booleans do not. Never raises.
    """
    try:
        item = getattr(value, "item", None)  # arrays and tensors of one element, of any dimension
        scalar = item() if callable(item) else value
        if isinstance(scalar, bool):
            return _text(scalar)
        number = float(scalar)  # type: ignore[arg-type]
    except Exception:  # a foreign type may raise anything
        return _text(value)
    return number if is_finite(number) else str(number)


def _text(value: object) -> str:
    try:
        return str(value)[:_LONGEST_TEXT]
    except Exception:  # a foreign type's own __str__
        return f"<{type(value).__name__}>"
