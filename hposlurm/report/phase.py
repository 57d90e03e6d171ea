"""Finds the phase of a study from its records and the queue's answer."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from hposlurm.backend import DRIVER_ENDED, ElementState
from hposlurm.records.cause_text import sentence
from hposlurm.records.history import History
from hposlurm.records.jobs import read_jobs
from hposlurm.records.layout import StudyLayout
from hposlurm.report.chain import why_blocked, why_broken
from hposlurm.trial import Cause, EndCause, TrialState

NO_ENDS: Mapping[str, float] = MappingProxyType({})


def find_phase(
    layout: StudyLayout,
    history: History,
    queue: Mapping[str, ElementState] | None = None,
    ended_at: Mapping[str, float] = NO_ENDS,
) -> tuple[str, str]:
    """Returns the study's phase, one of the texts in Progress, and a detail.

    The queue's answer counts only if it names jobs of the study. `ended_at` is when the trials that the history is
    without ended in each wave.
    """
    if not history.plans:
        return "not submitted", "no wave was planned"
    if history.paused:
        return "paused", history.paused
    if history.finished:
        return "simulated" if layout.simulated.exists() else "finished", history.finished
    if layout.stop.exists():
        return "stopped", "it was cancelled; no further wave will be submitted"
    last = history.plans[-1]
    before = read_jobs(layout.wave(last.wave - 1))
    if read_jobs(layout.wave(last.wave)) is None and before and before.is_late:
        return "stalled", f"wave {last.wave} is planned, and the chain of arrays has run out"
    if read_jobs(layout.wave(last.wave)) is None:
        return "not submitted", f"wave {last.wave} is planned, its jobs are not submitted"
    if queue and (why := why_broken(layout, last, queue)):
        is_left = all(found.detail == DRIVER_ENDED for found in queue.values())
        return ("interrupted", sentence(EndCause(Cause.DRIVER_ENDED))) if is_left else ("stalled", why)
    if not open_trials(history, last.wave):
        mine = [a for trial in history.trials for a in trial.attempts if a.wave == last.wave]
        ends = [a.ended_at or a.started_at for a in mine]
        last_end = max([ended_at.get(str(last.wave), 0.0), *ends])
        others = any(open_trials(history, plan.wave) for plan in history.in_flight)
        if queue and not others and (why := why_blocked(layout, last, queue, last_end)):
            return "stalled", why
        if last.elements is not None and not last.over and len(last.assignments) < last.elements:
            return "running", f"wave {last.wave}; its next trials are being planned"
        return "running", f"wave {last.wave} has ended; its planner is next"
    return "running", f"wave {last.wave}"


def open_trials(history: History, wave: int) -> list[int]:
    """Returns the trials of `wave` that run, or that wait and have not had their attempt in it."""
    mine = {a.trial for plan in history.plans if plan.wave == wave for a in plan.assignments}
    return [
        t.number
        for t in history.trials
        if t.number in mine
        and (
            t.state is TrialState.RUNNING
            or (t.state is TrialState.WAITING and not any(a.wave == wave for a in t.attempts))
        )
    ]
