"""Computes a trial's score from the metrics that it reports, where an objective is a formula. Standard library only.

Whoever writes a report to a journal adds the score to it, so that every reader finds it as any other metric.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hposlurm.records.journal import metric_value
from hposlurm.space.expressions import ExpressionError, parse
from hposlurm.space.names import variable
from hposlurm.trial import Direction, Objective, has_diverged, is_finite


@dataclass(frozen=True, slots=True)
class ScoreFormula:
    """A metric that is computed from others."""

    name: str
    #: an expression over the names of metrics and parameters, as `space.names.variable` writes them
    formula: str


def score_formulas(objectives: Sequence[Objective]) -> tuple[ScoreFormula, ...]:
    """Returns the formula of each objective that is computed."""
    return tuple(ScoreFormula(o.metric, formula) for o in objectives if (formula := _formula(o)))


def _formula(objective: Objective) -> str:
    if objective.terms:
        parts = (f"({t.weight!r}) * {variable(t.metric)} / {t.scale!r}" for t in objective.terms)
        return " + ".join(parts)
    cost = objective.efficiency
    if cost is None:
        return ""
    factor = f"(1 + {cost.weight!r} * {variable(cost.metric)} / {cost.budget!r})"
    operator = "*" if objective.direction is Direction.MINIMIZE else "/"
    return f"{variable(objective.value_metric)} {operator} {factor}"


def with_scores(
    metrics: Mapping[str, float | str], known: Mapping[str, object], formulas: Sequence[ScoreFormula]
) -> dict[str, float | str]:
    """Returns a report's metrics with the scores that they allow.

    `known` has the last values of all other metrics, and the parameters. A score is added if the report has one of its
    metrics and all others are known. It is "nan" where one of them is not finite; text makes no score.
    """
    found = dict(metrics)
    for each in formulas:
        expression = parse(each.formula)
        reported = {variable(name): value for name, value in metrics.items()}
        if reported.keys() & expression.names:
            values = {**{variable(name): value for name, value in known.items()}, **reported}
            score = _score(each.formula, {name: values.get(name) for name in expression.names})
            if score is not None:
                found[each.name] = score
    return found


def _score(formula: str, values: Mapping[str, object]) -> float | str | None:
    numbers = {name: value for name, value in values.items() if is_finite(value)}
    if len(numbers) < len(values):
        has_all = all(is_finite(value) or has_diverged(value) for value in values.values())
        return metric_value(math.nan) if has_all else None
    try:
        return metric_value(parse(formula).evaluate(numbers))
    except ExpressionError:  # a division by zero: as good as not finite
        return metric_value(math.nan)
