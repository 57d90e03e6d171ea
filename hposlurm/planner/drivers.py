"""Drives a study: by a planner job after each wave, by a chain submitted in advance, or in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hposlurm.backend import ArrayJob, Backend
from hposlurm.decisions import WarmStart
from hposlurm.errors import HposlurmError, NotNowError
from hposlurm.planner import chain
from hposlurm.planner.step import Step, advance
from hposlurm.planner.study import create, discard
from hposlurm.records.clock import CLOCK, Clock, Log, silent
from hposlurm.records.history import read_history
from hposlurm.records.layout import StudyLayout
from hposlurm.records.ownership import check_own

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
    """Writes the study's directory and takes the first step; returns None if a process has to stay and drive the study.

    If the cluster refuses, removes a new directory without jobs again. `log` gets a line about that.
    """
    check_own(layout.root)
    is_new = create(layout, spec, warm)
    check_own(layout.root)  # another user may have been faster
    if not is_new:
        log(f"{layout.root} is launched already with this spec; continuing it")
    if stays(spec, backend):
        return None
    try:
        return set_going(layout, spec, backend, clock=clock)
    except (HposlurmError, OSError) as error:
        if is_new and discard(layout, error):
            log(f"nothing was submitted and nothing was left in {layout.root.parent}")
        else:
            log(f"{layout.root} is kept; once the cause is gone, continue with: hposlurm resume {spec.name}")
        raise


def set_going(
    layout: StudyLayout, spec: StudySpec, backend: Backend, *, again: bool = False, clock: Clock = CLOCK
) -> Step:
    """Takes one step and, with `driver: chain`, submits the next pairs; must run in a shell that may submit jobs.

    Raises BackendError if the cluster refuses; the next call continues from there.
    """
    step = advance(layout, spec, backend, again=again, clock=clock)
    if not chain.is_used(spec, backend) or step.kind not in ("waiting", "unsubmitted"):
        return step
    extension = chain.extend(layout, spec, backend, read_history(layout), clock)
    if extension.is_busy:
        what = f"another process is submitting the chain after wave {step.wave}"
        return Step("busy", step.wave, what, unpublished=step.unpublished)
    message = f"{_planned(step)}; {extension.pairs} pairs of array and planner in the queue"
    if extension.why_fewer:
        name = layout.root.name
        message += (
            f" of {extension.wanted}: there is no room for more ({extension.why_fewer}); later: hposlurm resume {name}"
        )
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

    With the local backend it returns early, with a step of kind "waiting", if another process already drives the study.
    With Slurm it waits for the jobs of any process, and for a cluster that does not answer or is full.
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
