"""Orders completed trials: the best first, and the Pareto front. Pure, standard library only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from hposlurm.space.metric_constraints import NO_LIMITS, Limits
from hposlurm.trial import Direction, Objective, Ranked, Trial, TrialState

if TYPE_CHECKING:
    from hposlurm.records.history import History

R = TypeVar("R", bound=Ranked)


def ranked(trials: Iterable[R], objectives: Sequence[Objective], limits: Limits = NO_LIMITS) -> list[R]:
    """Returns the completed trials, best first, ties by number; trials that violate a limit come last.

    With several objectives the Pareto front comes first, in the order of the first objective; then the other trials, in
    the same order. Among trials that violate limits, the smallest violation comes first.
    """
    complete = [t for t in trials if t.state is TrialState.COMPLETE and t.values is not None]
    broken = (
        {t.number: sum(limits.violations(t.params, t.known_metrics)) for t in complete} if limits.expressions else {}
    )
    feasible = [t for t in complete if not broken.get(t.number)]
    rest = [t for t in complete if broken.get(t.number)]
    rest.sort(key=lambda trial: (broken[trial.number], losses(trial, objectives), trial.number))
    ordered = sorted(feasible, key=lambda trial: (losses(trial, objectives), trial.number))
    if len(objectives) < 2:
        return [*ordered, *rest]
    front = dict.fromkeys(_front([losses(trial, objectives) for trial in ordered]))
    return [*(ordered[i] for i in front), *(t for i, t in enumerate(ordered) if i not in front), *rest]


def pareto_front(trials: Iterable[R], objectives: Sequence[Objective], limits: Limits = NO_LIMITS) -> list[R]:
    """Returns the Pareto front of the completed trials that satisfy every limit, in the order of `ranked`."""
    kept = [trial for trial in ranked(trials, objectives, limits) if keeps(trial, limits)]
    return [kept[i] for i in _front([losses(trial, objectives) for trial in kept])]


def keeps(trial: Ranked, limits: Limits) -> bool:
    """True if the trial satisfies every limit, as far as is known by now."""
    return not limits.expressions or limits.is_feasible(trial.params, trial.known_metrics)


def losses(trial: Ranked, objectives: Sequence[Objective]) -> tuple[float, ...]:
    """Returns the trial's values, negated where the objective is maximised. Only for comparisons: less is better."""
    signs = (-1.0 if objective.direction is Direction.MAXIMIZE else 1.0 for objective in objectives)
    return tuple(sign * value for sign, value in zip(signs, trial.values or (), strict=True))


def _front(points: Sequence[tuple[float, ...]]) -> list[int]:
    """Returns the indices of the non-dominated `points`, which are sorted: only an earlier point can dominate."""
    front: list[int] = []
    for index, point in enumerate(points):
        others = (points[i] for i in front)
        if not any(o != point and all(a <= b for a, b in zip(o, point, strict=True)) for o in others):
            front.append(index)
    return front


def best(history: History, objectives: Sequence[Objective], limits: Limits = NO_LIMITS) -> Trial | None:
    """Returns the best completed trial; None if none completed.

    With several objectives it is the trial of the Pareto front that is best in the first objective. A trial that
    violates a limit is returned only if all trials do.
    """
    order = ranked(history.trials, objectives, limits)
    return order[0] if order else None
