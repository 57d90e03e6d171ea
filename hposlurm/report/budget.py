"""Computes how much of each budget a study has used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hposlurm.records.history import History
from hposlurm.records.spent import NO_PAST, Past, clock, spent
from hposlurm.space.metric_constraints import NO_LIMITS, Limits
from hposlurm.trial import Objective

if TYPE_CHECKING:
    from hposlurm.spec import BudgetSpec

_MORE_TRIALS = 10


@dataclass(frozen=True, slots=True)
class BudgetUse:
    """The use of one budget, in trials, GPU hours or seconds."""

    #: of a target: the best value so far; None if there is none yet
    used: float | None
    #: of a target: the value to reach
    limit: float
    #: the amount that submitted jobs may use beyond `used`
    reserved: float = 0.0


@dataclass(frozen=True, slots=True)
class BudgetLimits:
    """The limits of a study, as in its file; None for those that are not set."""

    n_trials: int | None = None
    gpu_hours: float | None = None
    wall_time_min: float | None = None
    patience: int | None = None
    target: float | None = None


def budget_use(
    budget: BudgetSpec | BudgetLimits,
    history: History,
    objectives: Sequence[Objective],
    now: float,
    limits: Limits = NO_LIMITS,
    past: Past = NO_PAST,
) -> Mapping[str, BudgetUse]:
    """Returns the use of each budget that is set, by its name in the study file; a finished study's as it ended.

    `past` is the use of trials that the history is without.
    """
    end = history.plans[-1].created_at if history.finished else now
    so_far = spent(history, objectives, end, limits=limits, past=past)
    found = {
        "n_trials": (so_far.trials, budget.n_trials, 0.0),
        "gpu_hours": (so_far.gpu_hours, budget.gpu_hours, so_far.reserved_gpu_hours),
        "wall_time": (so_far.wall_s, None if budget.wall_time_min is None else budget.wall_time_min * 60, 0.0),
        "patience": (so_far.stale, budget.patience, 0.0),
        "target": (so_far.best, budget.target, 0.0),
    }
    return {name: BudgetUse(used, limit, kept) for name, (used, limit, kept) in found.items() if limit is not None}


def raised(history: History, budget: BudgetSpec | BudgetLimits) -> str | None:
    """Returns the setting that allows a quarter more trials, at least ten; None if the study may have more anyway."""
    if budget.n_trials is None or len(history.trials) < budget.n_trials:
        return None
    return f"budget.n_trials={budget.n_trials + max(_MORE_TRIALS, -(-budget.n_trials // 4))}"


def budget_text(budget: Mapping[str, BudgetUse]) -> str:
    """Returns all budgets in one line; the number of trials is left out, because it is shown elsewhere.

    May be empty.
    """
    return ", ".join(_text(name, use) for name, use in budget.items() if name != "n_trials")


def _text(name: str, use: BudgetUse) -> str:
    if name == "target":
        return f"target {use.limit:g} ({'none has completed yet' if use.used is None else f'best {use.used:.6g}'})"
    assert use.used is not None
    if name == "wall_time":
        return f"{name} {clock(use.used)} of {clock(use.limit)}"
    kept = f" (and {use.reserved:.3g} reserved)" if use.reserved > 0 else ""
    return f"{name} {use.used:.4g} of {use.limit:g}{kept}"
