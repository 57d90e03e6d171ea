"""The objectives of a study: a metric, its direction, and which of a trial's reports counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Direction(StrEnum):
    MINIMIZE = "minimize"
    MAXIMIZE = "maximize"


#: The end of the name of a score: that of eval_loss is eval_loss_score.
SCORE = "_score"


class CountedReport(StrEnum):
    """Which of a trial's reports counts."""

    LAST = "last"
    BEST = "best"


class ValueRule(StrEnum):
    """Which of a metric's reported values counts."""

    LAST = "last"
    LOWEST = "lowest"
    HIGHEST = "highest"

    def of(self, values: Sequence[float]) -> float:
        """Returns the one of `values`, in the order of their reports and at least one, that counts."""
        return values[-1] if self is ValueRule.LAST else min(values) if self is ValueRule.LOWEST else max(values)


@dataclass(frozen=True, slots=True)
class Efficiency:
    """How a metric of cost, such as the number of parameters, makes a trial's value worse."""

    metric: str
    #: the cost that counts as 1
    budget: float
    #: by how much of itself the value gets worse at that cost
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Term:
    """A part of a weighted sum: weight · metric / scale."""

    metric: str
    weight: float = 1.0
    #: what the metric is divided by: a value that counts as 1, such as a usual or the worst one
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Objective:
    """An objective: the name of a reported metric, and which direction is better.

    With `efficiency` or `terms` the metric is a score that workers compute from reported ones.
    """

    metric: str
    direction: Direction = Direction.MINIMIZE
    #: The objective's share where several objectives are added up to one number.
    weight: float = 1.0
    #: Which of a trial's reports counts. Studies of older versions have no such key: the last one counts.
    report: CountedReport = CountedReport.LAST
    #: The value is that of the metric `value_metric`, made worse by a cost.
    efficiency: Efficiency | None = None
    #: The value is a weighted sum; () for none.
    terms: tuple[Term, ...] = ()

    @property
    def value_metric(self) -> str:
        """The name in the study file: of the metric itself, or of the one that a cost makes worse."""
        return self.metric.removesuffix(SCORE) if self.efficiency is not None else self.metric

    @property
    def reported(self) -> tuple[str, ...]:
        """The metrics that the training has to report."""
        if self.terms:
            return tuple(term.metric for term in self.terms)
        return (self.metric,) if self.efficiency is None else (self.value_metric, self.efficiency.metric)

    @property
    def rule(self) -> ValueRule:
        """Which value counts, without the direction."""
        return ValueRule.LAST if self.report is CountedReport.LAST else self.best

    @property
    def best(self) -> ValueRule:
        """Which value is the best one."""
        return ValueRule.HIGHEST if self.direction is Direction.MAXIMIZE else ValueRule.LOWEST
