"""Prints what a step did, and follows a study to its end if requested (`--wait`) or necessary."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from hposlurm.cli.common import log, say
from hposlurm.report.numbers import counted

if TYPE_CHECKING:
    from hposlurm import Study
    from hposlurm.planner import Step
    from hposlurm.records.history import History


def go_on(study: Study, step: Step | None, *, wait: bool) -> None:
    """Prints what the first step did; follows the study to its end if `wait`, or if there is no step yet."""
    if step is not None:
        _print_step(study, step)
    if step is None or wait:
        _stay(study)


def _print_step(study: Study, step: Step) -> None:
    """Prints what a planner step did, the study's directory and the command to type next."""
    from hposlurm.records.history import read_history
    from hposlurm.records.jobs import read_jobs

    say(step.message)
    for failure in step.unpublished:
        log(f"note: {failure}; the next step retries")
    if step.jobs is not None:
        # read again: the planner's id was recorded after those of the arrays
        jobs = read_jobs(study.layout.wave(step.wave))
        arrays = (f"{array.job_id} ({counted(array.count, 'element')})" for array in step.jobs.arrays)
        say(f"jobs:      {', '.join(arrays)}")
        if jobs and jobs.planner:
            say(f"planner:   {jobs.planner} plans the next wave when they have ended; you can log out")
    say(f"directory: {study.layout.root}")
    if step.kind == "finished":
        _print_next(study, read_history(study.layout), f"hposlurm collect {study.name}")
    else:
        say(f"next:      hposlurm status {study.name}")


def _print_next(study: Study, history: History, usual: str) -> None:
    """Prints the commands to type after the end: `usual`, unless the study has paused."""
    from hposlurm.report.going_on import way_lines, ways_on

    for i, line in enumerate(way_lines(ways_on(history, study.name)) or [usual]):
        say(f"{'' if i else 'next:':<11}{line}")


def _stay(study: Study) -> None:
    """Follows the study until it is over and prints its summary; exits with 1 if no trial completed.

    After Ctrl-C, `resume` continues the study.
    """
    try:
        history = study.wait(watch=_changes(study), log=log)
    except KeyboardInterrupt:
        log(_left(study))
        raise typer.Exit(130 if study.stays else 0) from None
    sys.stderr.flush()
    say(history.finished or "the study was cancelled")
    print_end(study, history)


def _changes(study: Study) -> Callable[[History], None]:
    """Returns a function that prints the study's progress if it has changed since the last call."""
    from hposlurm.report.progress_text import progress_line

    shown = ""

    def show(history: History) -> None:
        nonlocal shown
        line = progress_line(history, study.spec)
        if line != shown:
            shown = line
            log(f"{time.strftime('%H:%M:%S')}  {line}")

    return show


def _left(study: Study) -> str:
    if study.backend.is_foreground:
        return f"interrupted: `hposlurm resume {study.name}` continues where it stopped"
    if study.stays:
        return f"detached: the jobs in the queue continue; no wave follows them until `hposlurm resume {study.name}`"
    return f"detached: the jobs continue; `hposlurm status {study.name}` shows them"


def print_end(study: Study, history: History) -> None:
    """Prints what is noticed and the commands to type after the end; exits with 1 if no trial completed."""
    from hposlurm.report.notices import notices
    from hposlurm.trial import TrialState

    for notice in notices(study.records()):
        log(f"noticed: {notice.line}")
    say(f"directory: {study.layout.root}")
    _print_next(study, history, f"hposlurm collect {study.name}   hposlurm best {study.name}")
    if not history.counts()[TrialState.COMPLETE]:
        log(f"error: no trial completed; `hposlurm status {study.name}` shows why")
        raise typer.Exit(1)
