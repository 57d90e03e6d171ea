"""The output of a trial's attempts, whole or as it grows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from hposlurm.errors import RequestError, StudyError
from hposlurm.records import journal
from hposlurm.records.fold import fold
from hposlurm.records.history import read_history
from hposlurm.records.layout import StudyLayout
from hposlurm.trial import Attempt, Trial

_CHUNK = 1 << 20
TAIL_LINES = 5
_TAIL_BYTES = 8192


def choose_attempt(trial: Trial, number: int | None) -> Attempt:
    """The attempt of that number, or the last one. Raises RequestError for a wrong one, StudyError before the first."""
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
    """Where the output (stream "out") or the error output ("err") of the attempt lies. Raises StudyError if unknown."""
    if not attempt.log:
        raise StudyError(f"attempt {attempt.number} of trial {trial.number} left no record of where its log is")
    path = layout.root / attempt.log
    return path if stream == "out" else path.with_suffix(".err")


def content(path: Path, position: int = 0) -> Iterator[bytes]:
    """What is in the file from byte `position` on, in pieces; nothing if it is not there."""
    try:
        with path.open("rb") as file:
            file.seek(position)
            while piece := file.read(_CHUNK):
                yield piece
    except FileNotFoundError:
        return


def is_own(line: bytes) -> bool:
    """Whether the worker itself said this in an error log, which it shares with its command."""
    return line.startswith(b"hposlurm: ")


def output_tail(layout: StudyLayout, attempt: Attempt) -> tuple[str, ...]:
    """The last lines of a command's output, from the error stream if there is any; empty if there is no log."""
    if not attempt.log:
        return ()
    out = layout.root / attempt.log
    for path in (out.with_suffix(".err"), out):
        lines = [line for line in _last_bytes(path).split(b"\n") if line.strip() and not is_own(line)]
        if lines:
            return tuple(line.decode(errors="replace") for line in lines[-TAIL_LINES:])
    return ()


def _last_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            return file.read()
    except OSError:
        return b""


def whose(errors: Path) -> str:
    """What to add to the name of an error log where not all of it is the command's; empty if it is."""
    try:
        with errors.open("rb") as file:
            found = {is_own(line) for line in file if line.strip()}
    except FileNotFoundError:
        return ""
    if found == {True}:
        return ", the worker's own words"
    return ', with the worker\'s own words behind "hposlurm:"' if True in found else ""


def follow(
    layout: StudyLayout, trial: Trial, attempt: Attempt, path: Path, pause: Callable[[], None]
) -> Iterator[bytes]:
    """What is in the file and what is added to it, until the attempt has ended; calls `pause` between two looks.

    An attempt has ended by its own word, or by the planner's: its process may have been killed.
    """
    position, waves = 0, len(layout.waves())
    while True:
        ended = attempt.outcome is not None  # looked at before the file, so that its last lines are not missed
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
        tail = journal.read(layout.trial(trial.number).journal(attempt.number))
    except FileNotFoundError:
        return attempt
    return fold(attempt, tail.records)
