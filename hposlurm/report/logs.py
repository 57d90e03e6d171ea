"""Reads the output of a trial's attempts, all at once or as it grows."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from hposlurm.errors import RequestError, StudyError
from hposlurm.records.fold import read_on
from hposlurm.records.history import read_history
from hposlurm.records.layout import StudyLayout
from hposlurm.records.reading import open_regular, read_end
from hposlurm.trial import Attempt, Trial

_CHUNK = 1 << 20
TAIL_LINES = 5
_TAIL_BYTES = 8192
_LOOKED_AT = 1 << 24  # bytes of an error log in which lines of the worker are looked for


def choose_attempt(trial: Trial, number: int | None) -> Attempt:
    """Returns attempt `number`, or the last one for None.

    Raises RequestError if there is no such attempt, StudyError if there is none at all.
    """
    if not trial.attempts:
        raise StudyError(f"trial {trial.number} has not started yet, so it has no log")
    if number is None:
        return trial.attempts[-1]
    for attempt in trial.attempts:
        if attempt.number == number:
            return attempt
    known = ", ".join(str(attempt.number) for attempt in trial.attempts)
    raise RequestError(f"trial {trial.number} has no attempt {number}; its attempts: {known}")


def log_path(layout: StudyLayout, trial: Trial, attempt: Attempt, stream: str = "out") -> Path:
    """Returns the file of the attempt's output (stream "out") or error output ("err"). Raises StudyError if unknown."""
    if not attempt.log:
        raise StudyError(f"attempt {attempt.number} of trial {trial.number} has no record of where its log is")
    path = layout.root / attempt.log
    return path if stream == "out" else path.with_suffix(".err")


def content(path: Path, position: int = 0) -> Iterator[bytes]:
    """Yields the file from byte `position` on, in pieces; nothing if the file does not exist."""
    try:
        with open_regular(path) as file:
            file.seek(position)
            while piece := file.read(_CHUNK):
                yield piece
    except FileNotFoundError:
        return


def without_holes(path: Path) -> Iterator[bytes]:
    """Yields the file in pieces, without its holes: a sparse file may seem to have terabytes, all of them zeros."""
    with open_regular(path) as file:
        position = _data_after(file.fileno(), 0)
        while position is not None:
            file.seek(position)
            piece = file.read(_CHUNK)
            yield piece
            position = _data_after(file.fileno(), position + len(piece))


def _data_after(file: int, position: int) -> int | None:
    """Returns the first place with data from `position` on; None if a hole or nothing follows (lseek(2), SEEK_DATA)."""
    try:
        return os.lseek(file, position, os.SEEK_DATA)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return None


def is_worker_line(line: bytes) -> bool:
    """True if the worker wrote this line of an error log, which it shares with its command."""
    return line.startswith(b"hposlurm: ")


def output_tail(layout: StudyLayout, log: str) -> tuple[str, ...]:
    """Returns the last lines of a command's output, from the error stream if it has any; empty without a log.

    `log` is where an attempt's record says that it is.
    """
    if not log:
        return ()
    out = layout.root / log
    for path in (out.with_suffix(".err"), out):
        lines = [line for line in _last_bytes(path).split(b"\n") if line.strip() and not is_worker_line(line)]
        if lines:
            return tuple(line.decode(errors="replace") for line in lines[-TAIL_LINES:])
    return ()


def _last_bytes(path: Path) -> bytes:
    try:
        return read_end(path, _TAIL_BYTES)
    except OSError:
        return b""


def worker_lines_note(errors: Path) -> str:
    """Returns what to add to an error log's name if the worker wrote some of its lines, else ""."""
    try:
        with open_regular(errors) as file:
            lines = file.read(_LOOKED_AT).splitlines()
        found = {is_worker_line(line) for line in lines if line.strip()}
    except FileNotFoundError:
        return ""
    if found == {True}:
        return ", lines of the worker"
    return ', with lines of the worker that start with "hposlurm:"' if True in found else ""


def follow(
    layout: StudyLayout, trial: Trial, attempt: Attempt, path: Path, pause: Callable[[], None]
) -> Iterator[bytes]:
    """Yields the file and what is appended to it, until the attempt has ended; calls `pause` between two reads.

    The end is recorded by the attempt's journal, or by the planner if its process was killed.
    """
    position, waves = 0, len(layout.waves())
    while True:
        ended = attempt.outcome is not None  # checked before the file is read, so that its last lines are not missed
        for piece in content(path, position):
            position += len(piece)
            yield piece
        if ended:
            return
        pause()
        attempt = _read_on(layout, trial, attempt)
        if attempt.outcome is None and len(layout.waves()) > waves:
            waves = len(layout.waves())
            settled = read_history(layout).trial(trial.number).attempts
            attempt = next((a for a in settled if a.number == attempt.number), attempt)


def _read_on(layout: StudyLayout, trial: Trial, attempt: Attempt) -> Attempt:
    try:
        return read_on(layout.trial(trial.number).journal(attempt.number), attempt)
    except FileNotFoundError:
        return attempt
