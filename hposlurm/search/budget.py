"""Computes what a study used of its budget, what may still be submitted, and why it ends. Pure.

GPU hours are reserved before they are used: from its plan on, an element counts with all that it may use (its GPUs
until its time limit), and with what it was allocated once that is known. So plans never exceed the budget, whatever the
elements do. Clocks of different nodes are never compared where that could let a study use more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from hposlurm.records.assignment import NO_TRIAL
from hposlurm.records.history import History, keeps, losses
from hposlurm.records.plan import WavePlan, closing_plans
from hposlurm.space.metric_constraints import NO_LIMITS, Limits
from hposlurm.trial import Attempt, Direction, Objective, Trial, TrialState

if TYPE_CHECKING:
    from hposlurm.spec import BudgetSpec

# Sums of hours have rounding errors; 8 h must be enough for 16 times half an hour.
_TOLERANCE_H = 1e-6
_NO_LIMITS = ("n_trials", "confirm_gpu_hours", "max_failures")


@dataclass(frozen=True, slots=True)
class Spent:
    """The resources that a study has used at one moment."""

    trials: int
    #: of all attempts, including failures and retries; of running attempts until now
    gpu_hours: float
    #: what running and waiting elements may use in addition
    reserved_gpu_hours: float
    #: since the first plan
    wall_s: float
    #: how many trials finished after the last one that improved the first objective
    stale: int
    #: the first objective's best value, as reported, among the completed trials that keep the limits; None without any
    best: float | None = None


def is_limited(budget: BudgetSpec) -> bool:
    """True if anything other than the number of trials may end the study, so that what it used matters."""
    fields = type(budget).model_fields
    return any(getattr(budget, name) != fields[name].default for name in fields if name not in _NO_LIMITS)


def spent(
    history: History,
    objectives: Sequence[Objective],
    now: float,
    *,
    still_open: Collection[int] | None = None,
    limits: Limits = NO_LIMITS,
) -> Spent:
    """Returns what the study has used at `now` (epoch seconds by the planner's clock).

    Of the waves in flight only those in `still_open` (None: all) have elements that may still start; an element of
    another wave without any record was never submitted. A trial that breaks one of the `limits` improves nothing.
    """
    plans = history.plans
    waiting = _waiting(history, [p for p in history.in_flight if still_open is None or p.wave in still_open])
    seconds = [*_attempts(history, now), *_for_nothing(history), *waiting]
    used_s, reserved_s = sum(used for used, _ in seconds), sum(kept for _, kept in seconds)
    stale, best = _progress(history, objectives, limits)
    return Spent(
        trials=len(history.trials),
        gpu_hours=used_s / 3600,
        reserved_gpu_hours=reserved_s / 3600,
        wall_s=max(0.0, now - plans[0].created_at) if plans else 0.0,
        stale=stale,
        best=best,
    )


def affordable(budget: BudgetSpec, so_far: Spent, element_gpu_hours: float) -> int | None:
    """Returns how many elements may be submitted now, if each may use `element_gpu_hours`; None without a limit."""
    if budget.gpu_hours is None or not element_gpu_hours:
        return None
    left = budget.gpu_hours - so_far.gpu_hours - so_far.reserved_gpu_hours
    return max(0, int((left + _TOLERANCE_H) / element_gpu_hours))


def payable(budget: BudgetSpec, so_far: Spent, gpu_hours: Sequence[float]) -> int:
    """Returns how many elements, in this order, may be submitted now; `gpu_hours` has what each may use."""
    if budget.gpu_hours is None:
        return len(gpu_hours)
    left = budget.gpu_hours - so_far.gpu_hours - so_far.reserved_gpu_hours + _TOLERANCE_H
    return sum(together <= left for together in accumulate(gpu_hours))


def reason_to_end(
    budget: BudgetSpec, so_far: Spent, element_gpu_hours: float, objective: Objective | None = None
) -> str | None:
    """Returns why no further element may be submitted, as a sentence; None if one may. `objective` is the first one."""
    if budget.target is not None and so_far.best is not None and objective is not None:
        is_less = objective.direction is Direction.MINIMIZE
        if so_far.best <= budget.target if is_less else so_far.best >= budget.target:
            return f"target: {objective.metric} {so_far.best:.6g} reached {budget.target:g}"
    if budget.gpu_hours is not None:
        used = f"gpu_hours: {so_far.gpu_hours:.4g} of {budget.gpu_hours:g} used"
        if so_far.gpu_hours >= budget.gpu_hours:
            return used
        if affordable(budget, so_far, element_gpu_hours) == 0:
            reserved = so_far.reserved_gpu_hours
            kept = f" and {reserved:.4g} reserved" if reserved >= _TOLERANCE_H else ""
            return f"{used}{kept}, the next trial could need {element_gpu_hours:.4g}"
    if budget.wall_time_min is not None and so_far.wall_s >= budget.wall_time_min * 60:
        return f"wall_time: {clock(so_far.wall_s)} of {clock(budget.wall_time_min * 60)} are over"
    if budget.patience is not None and so_far.stale >= budget.patience:
        return f"patience: no improvement in {so_far.stale} trial{'' if so_far.stale == 1 else 's'}"
    return None


def most_gpu_hours(
    budget: BudgetSpec, *, jobs: int | None, attempts: int, element_gpu_hours: float, time_limit_s: float, size: int
) -> float | None:
    """Returns the most GPU hours that the whole study can use; None if there is no bound.

    `jobs` is how many jobs train all trials (None: unknown), `attempts` how often each may be tried, `size` how many
    are in a wave. Runs that the cluster interrupts are not included: they are retried for free.
    """
    bounds = [] if budget.gpu_hours is None else [budget.gpu_hours]
    if jobs is not None:
        bounds.append(jobs * attempts * element_gpu_hours)
    if budget.wall_time_min is not None:  # the last wave may be planned just before the end
        bounds.append(size * element_gpu_hours * (budget.wall_time_min * 60 / time_limit_s + 1))
    return min(bounds, default=None) if element_gpu_hours else 0.0


def clock(seconds: float) -> str:
    """Returns hours, minutes and seconds as Slurm writes them: 6:02:10, 2-00:00:00."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    return f"{days}-{hour:02d}:{minute:02d}:{second:02d}" if days else f"{hour}:{minute:02d}:{second:02d}"


def _attempts(history: History, now: float) -> Iterator[tuple[float, float]]:
    """Yields, for every attempt, the GPU seconds that it used and those that it may still use."""
    ends = {wave: plan.created_at for wave, plan in closing_plans(history.plans).items()}
    limits = _limits(history)
    for trial in history.trials:
        own_ends = {a.number: a.ended_at for a in history.journals.get(trial.number, ())}
        for position, attempt in enumerate(trial.attempts):
            if attempt.wave >= len(history.plans):
                continue  # its start record is not readable yet: the element counts as waiting
            until = ends.get(attempt.wave, now)
            following = trial.attempts[position + 1 : position + 2]
            if following and following[0].wave == attempt.wave:
                until = following[0].started_at
            limit_s = limits.get((attempt.wave, trial.number), history.plans[attempt.wave].time_limit_s)
            used_s, reserved_s = _seconds(attempt, own_ends.get(attempt.number), limit_s, until, now)
            yield used_s * attempt.gpus, reserved_s * attempt.gpus


def _for_nothing(history: History) -> Iterator[tuple[float, float]]:
    """Yields the same for array elements that had no trial."""
    for plan in history.plans:
        for settlement in plan.settled:
            if settlement.trial == NO_TRIAL:
                yield (settlement.elapsed_s or 0.0) * settlement.gpus, 0.0


def _limits(history: History) -> dict[tuple[int, int], float]:
    """Returns the time limits of elements, by wave and trial, where they differ from the wave's."""
    return {
        (plan.wave, assignment.trial): assignment.time_limit_s
        for plan in history.plans
        for assignment in plan.assignments
        if assignment.time_limit_s is not None
    }


def _waiting(history: History, in_flight: Iterable[WavePlan]) -> Iterator[tuple[float, float]]:
    """Yields the same for every assignment of these waves that no element has started."""
    for plan in in_flight:
        limits = {a.trial: a.time_limit_s for a in plan.assignments if a.time_limit_s is not None}
        for number, count in Counter(assignment.trial for assignment in plan.assignments).items():
            attempts = history.trial(number).attempts
            started = len({attempt.index for attempt in attempts if attempt.wave == plan.wave})
            for _ in range(count - started):
                yield 0.0, plan.gpus * (limits.get(number, plan.time_limit_s) or 0.0)


def _seconds(
    attempt: Attempt, own_end: float | None, limit_s: float | None, until: float, now: float
) -> tuple[float, float]:
    """Returns how many seconds an attempt had its GPUs, and for how many more it may have them.

    The accounting's elapsed time is used if it is known, else the worker's own records. An attempt that was killed
    without an end record counts until the next attempt or plan, but at most until its job's time limit.
    """
    if attempt.elapsed_s is not None:
        return attempt.elapsed_s, 0.0
    if attempt.number < 0:
        return 0.0, 0.0  # it ended before its worker started
    if attempt.outcome is None:
        so_far = max(0.0, now - attempt.started_at)
        so_far = so_far if limit_s is None else min(so_far, limit_s)
        return so_far, 0.0 if limit_s is None else limit_s - so_far
    if own_end is not None:
        return max(0.0, own_end - attempt.started_at), 0.0
    last_sign = max([attempt.started_at, *(report.time for report in attempt.reports)])
    lasted = max(last_sign, until) - attempt.started_at
    return lasted if limit_s is None else min(lasted, limit_s), 0.0


def _progress(history: History, objectives: Sequence[Objective], limits: Limits) -> tuple[int, float | None]:
    """Returns how many trials finished after the last improvement, in the order of waves, and the best value.

    No clock decides the order.
    """
    stale, best, value = 0, None, None
    for trial in sorted((t for t in history.trials if t.state.is_finished), key=_order):
        counts = trial.state is TrialState.COMPLETE and trial.values is not None and keeps(trial, limits)
        loss = losses(trial, objectives)[0] if counts else None
        if loss is not None and (best is None or loss < best):
            stale, best, value = 0, loss, (trial.values or (None,))[0]
        else:
            stale += 1
    return stale, value


def _order(trial: Trial) -> tuple[int, int]:
    return max((attempt.wave for attempt in trial.attempts), default=trial.wave), trial.number
