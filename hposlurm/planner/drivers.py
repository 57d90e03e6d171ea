"""Starts the steps of a study and takes them: a planner job after each wave, a chain laid ahead, or this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hposlurm.backend import ArrayJob, Backend
from hposlurm.decisions import WarmStart
from hposlurm.errors import HposlurmError, NotNowError
from hposlurm.planner import chain
from hposlurm.planner.clock import CLOCK, Clock, Log, silent
from hposlurm.planner.step import Step, advance
from hposlurm.planner.study import create, discard
from hposlurm.records.history import read_history
from hposlurm.records.layout import StudyLayout

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec

_TRY_AGAIN_S = 15


def stays(spec: StudySpec, backend: Backend) -> bool:
    """True if the process that launches the study has to stay and drive it."""
    return backend.is_foreground or spec.slurm.driver == "foreground"


def launch(
    layout: StudyLayout,
    spec: StudySpec,
    backend: Backend,
    warm: WarmStart,
    *,
    log: Log = silent,
    clock: Clock = CLOCK,
) -> Step | None:
    """Writes the study's directory and takes the first step; None where a process has to stay and take it.

    If the cluster refuses, a directory that holds nothing yet is removed again. `log` hears what became of it.
    """
    is_new = create(layout, spec, warm)
    if not is_new:
        log(f"{layout.root} is launched already with this very spec; going on with it")
    if stays(spec, backend):
        return None
    try:
        return set_going(layout, spec, backend, clock=clock)
    except (HposlurmError, OSError) as error:
        if is_new and discard(layout, error):
            log(f"nothing was submitted and nothing was left in {layout.root.parent}")
        else:
            log(f"{layout.root} is kept; once the cause is gone, go on with: hposlurm resume {spec.name}")
        raise


def set_going(
    layout: StudyLayout, spec: StudySpec, backend: Backend, *, again: bool = False, clock: Clock = CLOCK
) -> Step:
    """Takes one step and, with `driver: chain`, lays the pairs that carry the study on; from a shell that may submit.

    Raises BackendError if the cluster refuses; the next call goes on from there.
    """
    step = advance(layout, spec, backend, again=again, clock=clock)
    if not chain.is_used(spec, backend) or step.kind not in ("waiting", "unsubmitted"):
        return step
    laid = chain.extend(layout, spec, backend, read_history(layout), clock)
    if laid.is_busy:
        return Step("busy", step.wave, f"another process is laying the chain behind wave {step.wave}")
    message = f"{_planned(step)}; {laid.pairs} pairs of array and planner in the queue"
    if laid.why_fewer:
        name = layout.root.name
        message += f" of {laid.wanted}: there is no room for more ({laid.why_fewer}); later: hposlurm resume {name}"
    jobs = chain.first_jobs(layout, step.wave)
    return Step("submitted", step.wave, message, jobs, unpublished=step.unpublished)


def _planned(step: Step) -> str:
    return step.message if step.kind == "waiting" else f"wave {step.wave} is planned"


def drive(
    layout: StudyLayout,
    spec: StudySpec,
    backend: Backend,
    *,
    again: bool = False,
    log: Log = silent,
    clock: Clock = CLOCK,
) -> Step:
    """Runs the study to its end in this process: step, wait, step, …

    On this machine it returns early, with a step of kind "waiting", where another process drives the study already. On
    Slurm it waits for jobs whoever submitted them, and for a cluster that does not answer or is full.
    """
    mine: set[ArrayJob] = set()
    while True:
        try:
            step = advance(layout, spec, backend, again=again, clock=clock)
            again = False
            mine.update(step.jobs.arrays if step.jobs and step.kind == "submitted" else ())
        except NotNowError as error:
            if backend.is_foreground:
                raise
            log(f"not now: {error}")
            clock.sleep(_TRY_AGAIN_S)
            continue
        waits = step.awaited is not None and not (backend.is_foreground and mine.isdisjoint(step.awaited.arrays))
        for failure in step.unpublished if waits else ():
            log(f"note: {failure}")  # the next step tries it again
        if step.kind == "busy" and not backend.is_foreground:
            clock.sleep(_TRY_AGAIN_S)
        elif step.awaited is not None and waits:
            backend.wait(step.awaited.arrays)
        else:
            return step
