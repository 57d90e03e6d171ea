"""Finds the assignment of an element. The plan of its wave may come late and have fewer assignments than elements."""

from __future__ import annotations

import contextlib
import time

from hposlurm.errors import StudyError
from hposlurm.records.assignment import Assignment
from hposlurm.records.jobs import read_jobs
from hposlurm.records.layout import StudyLayout, WaveLayout
from hposlurm.records.plan import WavePlan, read_first, read_plan
from hposlurm.worker import refill
from hposlurm.worker.claim import when_there_is_room
from hposlurm.worker.pause import is_paused
from hposlurm.worker.recorder import say

# NFS clients remember for up to a minute that a file was not there
_PATIENCE_S = 75.0
_LOOK_EVERY_S = 1.0


def find_assignment(
    study: StudyLayout, wave: int, index: int, patience_s: float = _PATIENCE_S
) -> tuple[WavePlan, Assignment] | None:
    """Returns the plan and the assignment of element `index` of a wave; None if it has nothing to do.

    An element has nothing to do where arrays are submitted before their plan. Waits for a plan that is not visible yet.
    Raises StudyError if there is no such element.
    """
    if not study.root.is_dir():
        raise StudyError(f"{study.root} is not a directory; a study directory was expected")
    layout = study.wave(wave)
    deadline = time.monotonic() + patience_s
    while not layout.plan.exists() and time.monotonic() < deadline:
        if reason := _over(study):
            say(f"nothing to run: {reason}")
            return None
        time.sleep(min(_LOOK_EVERY_S, patience_s))
    if not layout.plan.exists() and is_late(layout):
        say(f"nothing to run: {layout.plan} did not come within {patience_s:g} s")
        return None
    plan = read_first(layout)
    if is_paused(study, plan):
        return None
    if plan.elements is not None:
        taken = when_there_is_room(lambda: refill.bind(study, plan, index))
        return None if taken is None else (plan, taken)
    if index < len(plan.assignments):
        return plan, plan.assignments[index]
    if is_late(layout):
        say(f"nothing to run: wave {wave} has {len(plan.assignments)} assignments, counted from 0")
        return None
    raise StudyError(f"wave {wave} has {len(plan.assignments)} assignments, counted from 0; there is no {index}")


def is_late(wave: WaveLayout) -> bool:
    """True if the wave's arrays were submitted before its plan was made (jobs.json)."""
    jobs = read_jobs(wave)
    return jobs is not None and jobs.is_late


def _over(study: StudyLayout) -> str:
    """The reason why no plan will come; "" if one may."""
    if study.stop.exists():
        return "the study was cancelled"
    for index in study.waves()[-1:]:
        with contextlib.suppress(StudyError):
            if finished := read_plan(study.wave(index)).finished:
                return finished
    return ""
