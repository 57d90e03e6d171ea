"""Reads what a command writes: new lines of a growing file, and the last lines, which explain how it ended."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from hposlurm.records.reading import open_regular
from hposlurm.worker.shell import ENDS_HERE

_CHUNK, _MOST_REMAINING = 4 * 2**20, 256 * 2**20
_WINDOW = 64 * 2**10  # how far back an explanation is searched for
_TAIL_LINES, _TAIL_BYTES, _TAIL_LINE = 20, 4096, 500
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class GrowingFile:
    """Yields whole new lines of a file that another process appends to, from byte `offset` on.

    Lines end at any byte of `ends`. Empty ones are left out, and longer ones are cut to `longest` bytes. The process
    may put anything in the file's place: nothing but a regular file is read.
    """

    def __init__(self, path: Path, *, offset: int = 0, ends: bytes = b"\n", longest: int = 2**20) -> None:
        self._path = path
        self._offset = offset
        self._ends = re.compile(b"[" + re.escape(ends) + b"]")
        self._longest = longest
        self._rest = b""
        #: True if something else than a regular file was found.
        self.is_replaced = False

    def lines(self) -> list[bytes]:
        """Returns lines that are complete now, a bounded amount per call, so that a flood does not block the reader."""
        *whole, rest = self._ends.split(self._rest + self._chunk())
        self._rest = rest[: self._longest]
        return [line[: self._longest] for line in whole if line]

    def remaining(self) -> Iterator[list[bytes]]:
        """Yields all lines up to the end of the file in parts, including a last one without its end.

        At most 256 MiB: a sparse file may have any size.
        """
        most = self._offset + _MOST_REMAINING
        before = -1
        while before != self._offset < most:
            before = self._offset
            yield self.lines()
        rest, self._rest = self._rest, b""
        yield [rest] if rest else []

    def _chunk(self) -> bytes:
        try:
            with open_regular(self._path) as file:
                file.seek(self._offset)
                data = file.read(_CHUNK)
        except (
            OSError
        ) as error:  # it does not exist yet, or the shared file system has a hiccup: the next call tries again
            self.is_replaced |= error.errno == errno.EINVAL
            return b""
        self._offset += len(data)
        return data


def plain(line: bytes) -> bytes:
    """Returns the line without the escape sequences that colour it."""
    if b"\x1b" not in line:
        return line
    return _ESCAPES.sub("", line.decode(errors="surrogateescape")).encode(errors="surrogateescape")


def last_lines(path: Path, offset: int = 0, begin: int = 0) -> list[str]:
    """Returns the last printable lines of the command after byte `offset`, at most 64 KiB.

    A line that begins before byte `begin` is left out. [] if the file cannot be read.
    """
    try:
        with open_regular(path) as file:
            size = file.seek(0, 2)
            first = file.seek(max(offset, size - _WINDOW, begin - 1))
            text = file.read(_WINDOW).decode(errors="replace")
    except OSError:
        return []
    if first == begin - 1:
        text = text.partition("\n")[2]
    # of a progress bar, which returns to the line's start, what a terminal would show last
    shown = (line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    clean = (_CONTROLS.sub("", _ESCAPES.sub("", line)).rstrip() for line in shown)
    return [line for line in clean if line and not line.startswith(ENDS_HERE)]


def tail(lines: Sequence[str]) -> list[str]:
    """Returns the end of `lines`, at most 20 lines and 4 KiB; of a long line its end."""
    kept: list[str] = []
    room = _TAIL_BYTES
    for line in reversed(lines[-_TAIL_LINES:]):
        short = line if len(line) <= _TAIL_LINE else f"…{line[-_TAIL_LINE:]}"
        room -= len(short.encode()) + 1
        if room < 0:
            break
        kept.insert(0, short)
    return kept
