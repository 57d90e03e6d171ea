"""Computes what may still be submitted of a study's budget, and why it ends. Pure.

GPU hours are reserved before they are used (see `records.spent`), so plans never exceed the budget, whatever the
elements do.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from hposlurm.records.spent import Spent, clock
from hposlurm.trial import Direction, Objective

if TYPE_CHECKING:
    from hposlurm.spec import BudgetSpec

# Sums of hours have rounding errors; 8 h must be enough for 16 times half an hour.
_TOLERANCE_H = 1e-6
_NO_LIMITS = ("n_trials", "confirm_gpu_hours", "max_failures")


def is_limited(budget: BudgetSpec) -> bool:
    """True if anything other than the number of trials may end the study, so that what it used matters."""
    fields = type(budget).model_fields
    return any(getattr(budget, name) != fields[name].default for name in fields if name not in _NO_LIMITS)


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
