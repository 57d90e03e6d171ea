"""The objectives of a study: a metric, its direction, and which of a trial's reports counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Direction(StrEnum):
    MINIMIZE = "minimize"
    MAXIMIZE = "maximize"


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
class Objective:
    """An objective: the name of a reported metric, and which direction is better."""

    metric: str
    direction: Direction = Direction.MINIMIZE
    #: The objective's share where several objectives are added up to one number.
    weight: float = 1.0
    #: Which of a trial's reports counts. Studies of older versions have no such key: the last one counts.
    report: CountedReport = CountedReport.LAST

    @property
    def rule(self) -> ValueRule:
        """Which value counts, without the direction."""
        return ValueRule.LAST if self.report is CountedReport.LAST else self.best

    @property
    def best(self) -> ValueRule:
        """Which value is the best one."""
        return ValueRule.HIGHEST if self.direction is Direction.MAXIMIZE else ValueRule.LOWEST
