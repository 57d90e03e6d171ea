"""Says what a step did, and follows a study to its end where that was asked for (`--wait`) or has to be."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from hposlurm.cli.common import say
from hposlurm.report.numbers import counted

if TYPE_CHECKING:
    from hposlurm import Study
    from hposlurm.planner import Step
    from hposlurm.records.history import History


def go_on(study: Study, step: Step | None, *, wait: bool) -> None:
    """Says what the first step did; stays to the end if asked to `wait`, or if there is no step yet."""
    if step is not None:
        _say_step(study, step)
    if step is None or wait:
        _stay(study)


def _say_step(study: Study, step: Step) -> None:
    """Prints what a planner step did, where the files lie and what to type next."""
    from hposlurm.records.jobs import read_jobs

    print(step.message)
    for failure in step.unpublished:
        say(f"note: {failure}; the next step retries")
    if step.jobs is not None:
        jobs = read_jobs(study.layout.wave(step.wave))  # again: the planner's id came after the arrays'
        arrays = (f"{array.job_id} ({counted(array.count, 'element')})" for array in step.jobs.arrays)
        print(f"jobs:      {', '.join(arrays)}")
        if jobs and jobs.planner:
            print(f"planner:   {jobs.planner} plans the next wave when they have ended; you can log out")
    print(f"directory: {study.layout.root}")
    verb = "collect" if step.kind == "finished" else "status"
    print(f"next:      hposlurm {verb} {study.name}")


def _stay(study: Study) -> None:
    """Follows the study until it is over and prints its summary; exits with 1 if no trial completed.

    Ctrl-C leaves a study that `resume` continues.
    """
    try:
        history = study.wait(watch=_changes(study), log=say)
    except KeyboardInterrupt:
        say(_left(study))
        raise typer.Exit(130 if study.stays else 0) from None
    sys.stderr.flush()
    print(history.finished or "the study was cancelled")
    print_end(study, history)


def _changes(study: Study) -> Callable[[History], None]:
    """Returns what says how far the study is, each time that it has changed."""
    from hposlurm.report.progress_text import progress_line

    shown = ""

    def show(history: History) -> None:
        nonlocal shown
        line = progress_line(history, study.spec)
        if line != shown:
            shown = line
            say(f"{time.strftime('%H:%M:%S')}  {line}")

    return show


def _left(study: Study) -> str:
    if study.backend.is_foreground:
        return f"interrupted: `hposlurm resume {study.name}` goes on where it stopped"
    if study.stays:
        return f"left: the jobs in the queue go on, and nothing follows them until `hposlurm resume {study.name}`"
    return f"left: the jobs go on; `hposlurm status {study.name}` shows them"


def print_end(study: Study, history: History) -> None:
    """Prints what to type after the end; exits with 1 if no trial completed."""
    from hposlurm.trial import TrialState

    print(f"directory: {study.layout.root}")
    print(f"next:      hposlurm collect {study.name}   hposlurm best {study.name}")
    if not history.counts()[TrialState.COMPLETE]:
        say(f"error: no trial completed; `hposlurm status {study.name}` shows why")
        raise typer.Exit(1)
