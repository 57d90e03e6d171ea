"""Prepares an attempt: creates the trial's record once, and claims the attempt's journal for this worker."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from hposlurm.errors import StudyError
from hposlurm.records import journal
from hposlurm.records.assignment import Assignment
from hposlurm.records.cause_text import no_progress_text
from hposlurm.records.files import create_once, from_json, to_json
from hposlurm.records.fold import read_on, unread
from hposlurm.records.layout import StudyLayout, TrialLayout
from hposlurm.records.permissions import make_directory, open_file
from hposlurm.records.reading import read_whole
from hposlurm.records.retries import no_progress
from hposlurm.records.retry_orders import NO_ATTEMPTS, excused, read_orders
from hposlurm.records.trial_state import bury
from hposlurm.trial import Outcome
from hposlurm.worker.recorder import say

T = TypeVar("T")

_FULL_S = 120.0  # a full disk is often cleared within minutes, and the job would have to queue again


def when_there_is_room(write: Callable[[], T], patience_s: float = _FULL_S) -> T:
    """Returns what `write` returns; retries while the disk or the quota is full, and raises its OSError in the end."""
    deadline = time.monotonic() + patience_s
    has_complained = False
    while True:
        try:
            return write()
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT) or time.monotonic() >= deadline:
                raise
            if not has_complained:
                has_complained = True
                say(f"the attempt waits for room in the study's directory, {patience_s:g} s at most: {error}")
        time.sleep(min(1.0, patience_s))


def record_trial(layout: TrialLayout, wave: int, assignment: Assignment) -> None:
    """Creates the trial's directory and `trial.json`; raises StudyError if other parameters are recorded there."""
    make_directory(layout.root)
    make_directory(layout.checkpoints)
    if create_once(layout.record, to_json(trial_record(wave, assignment))):
        return
    try:
        known = from_json(read_whole(layout.record))["signature"]
    except (ValueError, KeyError, TypeError) as error:
        raise StudyError(f"{layout.record} is damaged: {error}") from error
    if known != assignment.signature:
        raise StudyError(f"{layout.record} has the signature {known!r}, but the plan says {assignment.signature!r}")


def trial_record(wave: int, assignment: Assignment) -> dict[str, object]:
    """The content of `trial.json` for a trial that first starts with this assignment."""
    return {
        "number": assignment.trial,
        "params": dict(assignment.params),
        "signature": assignment.signature,
        "seed": assignment.seed,
        "wave": wave,
        "attrs": dict(assignment.attrs),
    }


def completed_attempt(layout: TrialLayout, stage: int) -> int | None:
    """Returns the attempt that completed this stage or a later one, or was pruned.

    None if the stage is still to be run.
    """
    for number in layout.attempts():
        attempt = read_on(layout.journal(number), unread(number))
        is_done = attempt.outcome is Outcome.COMPLETE and attempt.stage >= stage
        if is_done or attempt.outcome is Outcome.PRUNED:
            return number
    return None


def hopeless(study: StudyLayout, trial: int, wave: int) -> str | None:
    """Returns why this element is not to run again, None if it is.

    Slurm requeues a job for ever, with no planner in between. Attempts that a person's order leaves behind do not
    count.
    """
    layout = study.trial(trial)
    numbers = layout.attempts()
    attempts = [read_on(layout.journal(number), unread(number)) for number in numbers]
    ended = bury((*attempts, unread(max(numbers, default=-1) + 1)))[
        :-1
    ]  # this worker follows, so all of them have ended
    behind = excused(read_orders(study)).get(trial, NO_ATTEMPTS)
    mine = [attempt for attempt in ended if attempt.wave == wave and attempt.number not in behind]
    cause = no_progress(mine)
    return None if cause is None else no_progress_text(cause, mine)


def announced_checkpoints(layout: TrialLayout) -> list[str]:
    """Returns the names of the checkpoints that earlier attempts of the trial reported."""
    attempts = (read_on(layout.journal(number), unread(number)) for number in layout.attempts())
    return [Path(path).name for attempt in attempts for _, path in attempt.checkpoints]


def claim_attempt(layout: TrialLayout) -> tuple[int, int]:
    """Claims the next attempt. Returns its number and the descriptor of its journal, which no other worker has."""
    attempt = max(layout.attempts(), default=-1) + 1
    while True:
        try:
            return attempt, journal.open_journal(layout.journal(attempt))
        except FileExistsError:
            attempt += 1


def open_log(layout: TrialLayout, attempt: int, given: str | None) -> tuple[Path, int]:
    """Opens the file for the command's output: `given`, else one in the trial's directory.

    Returns path and descriptor.
    """
    own = layout.root / f"attempt-{attempt}.log"
    # O_NONBLOCK: an earlier attempt may have put a pipe there, which nobody reads
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK
    if given:
        with contextlib.suppress(OSError):
            return Path(given), open_file(Path(given), append)
    with contextlib.suppress(OSError):  # an earlier attempt's training code may have made a link of that name
        return own, open_file(own, append | os.O_NOFOLLOW)
    say("no log can be written, training goes on without one")
    return Path(os.devnull), os.open(os.devnull, os.O_WRONLY)
