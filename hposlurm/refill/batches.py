"""Proposes more assignments for a refill wave while it runs: reads the history, chooses, and records a batch once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hposlurm.backend import choose as choose_backend
from hposlurm.decisions.choice import choose, pruned
from hposlurm.decisions.modes import AHEAD_SHARE
from hposlurm.decisions.observe import needed_of
from hposlurm.decisions.pause import reason_to_pause
from hposlurm.records import refill_pool
from hposlurm.records.assignment import Settlement
from hposlurm.records.failing import paused_for
from hposlurm.records.history import History, read_history, with_reports, with_settlements
from hposlurm.records.layout import StudyLayout
from hposlurm.records.refill_pool import Batch
from hposlurm.refill.jobs import preempted

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec

# A batch fills the pool up to this many times the number of assignments that are kept ready
_FILL = 2
# How long to wait for each answer of the cluster: an element may wait for the batch, and the planner asks again later
_PATIENCE_S = 10.0


def add_batch(layout: StudyLayout, wave: int, now: float, *, is_needed: bool = False) -> Batch | None:
    """Adds the next batch to the wave's pool if the pool is running low. Returns the batch; None if nothing was added.

    If an element waits for it (`is_needed`) and there is nothing to do, the batch ends the pool: later results are for
    the next wave. `now` is in epoch seconds.
    """
    history = read_history(layout)
    plan = next((plan for plan in history.plans if plan.wave == wave), None)
    if plan is None or plan.elements is None or plan.over or layout.stop.exists():
        return None
    position = len(plan.assignments)
    free = len({*range(position)} - refill_pool.taken(layout.wave(wave)))
    try:
        if plan is not history.plans[-1]:
            return _end(layout, wave, position, now) if is_needed and not free else None
        return _add(layout, history, position, free, now, is_needed=is_needed)
    finally:
        refill_pool.release_batch(layout.wave(wave), position)


def _end(layout: StudyLayout, wave: int, position: int, now: float) -> Batch | None:
    """Ends the pool, since the planner of a later wave now makes the assignments."""
    batch = Batch(wave, position, now, over=f"wave {wave + 1} is planned")
    return batch if refill_pool.record_batch(layout.wave(wave), batch) else None


def _add(
    layout: StudyLayout, history: History, position: int, free: int, now: float, *, is_needed: bool
) -> Batch | None:
    from hposlurm.spec.frozen import frozen_spec

    spec = frozen_spec(layout)
    plan = history.plans[-1]
    wave = layout.wave(plan.wave)
    if paused := reason_to_pause(spec, history, plan.pause_after, paused_for(wave)):
        batch = Batch(plan.wave, position, now, over=paused)
        return batch if refill_pool.record_batch(wave, batch) else None
    # where a proposal takes as long as a trial, several elements wait besides this one: each needs an assignment
    waiting = min(refill_pool.waiting(wave), AHEAD_SHARE * plan.ahead) if is_needed else 0
    wanted = _FILL * plan.ahead - free + max(0, waiting - 1)
    wanted = max(wanted, 1 if is_needed and not free else 0)
    if wanted <= 0:
        return None
    history = with_reports(layout, history, needed_of(spec))
    freed, history = _freed(layout, spec, history)
    still_open = [p.wave for p in history.in_flight]
    found = choose(layout, spec, history, wave_size=wanted, gpus=plan.gpus, now=now, still_open=still_open)
    if not found.assignments and (free or not is_needed):
        return None
    batch = Batch(
        wave=plan.wave,
        position=position,
        created_at=now,
        assignments=found.assignments,
        settled=(*freed, *(pruned(history, verdict) for verdict in found.verdicts)),
        notes=found.notes,
        over="" if found.assignments else found.finished or "nothing is left to do",
    )
    return batch if refill_pool.record_batch(wave, batch) else None


def _freed(layout: StudyLayout, spec: StudySpec, history: History) -> tuple[tuple[Settlement, ...], History]:
    """Returns the settlements of attempts whose GPUs were taken away, and the history with them.

    Without a budget of GPU hours there are none: the cluster itself starts such a job again.
    """
    *before, plan = history.plans
    if spec.budget.gpu_hours is None:
        return (), history
    freed = preempted(choose_backend(spec.backend, patience_s=_PATIENCE_S), layout.wave(plan.wave), plan, history)
    if not freed:
        return (), history
    plans = (*before, replace(plan, settled=(*plan.settled, *freed)))
    return freed, with_settlements(replace(history, plans=plans), freed)
