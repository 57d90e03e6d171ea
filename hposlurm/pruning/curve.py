"""The reports of one trial in the form that rules use. A curve only grows; recorded points never change."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

from hposlurm.trial import Objective, Outcome, ValueRule

Values = tuple[float, ...]


class Curve:
    """The ascending steps at which every objective is known, read from journal records in the order of writing.

    Ignores a step that is not after all earlier ones: a resumed training repeats steps, and a decision that was
    made before must find the same points again.

    points: a step and the values of the objectives there, in the order of the objectives.
    broken: for each step with an objective that is not a finite number, a text such as "loss is nan".
    """

    __slots__ = ("_latest", "_names", "broken", "is_complete", "points")

    def __init__(self, objectives: Sequence[Objective]) -> None:
        self._names = tuple(objective.metric for objective in objectives)
        self._latest: dict[str, tuple[int, float]] = {}
        self.points: list[tuple[int, Values]] = []
        self.broken: dict[int, str] = {}
        self.is_complete = False

    def take(self, record: Mapping[str, Any]) -> int | None:
        """Adds a record of any kind, even a damaged one. Returns the step for which it has new values, else None."""
        kind, step, metrics = record.get("kind"), record.get("step"), record.get("metrics")
        if kind == "end" and record.get("outcome") == Outcome.COMPLETE:
            self.is_complete = True
        if kind != "report" or not isinstance(metrics, Mapping) or type(step) is not int:
            return None
        before = len(self.points) + len(self.broken)
        for name in self._names:
            value = metrics.get(name)
            if isinstance(value, str):
                self.broken.setdefault(step, f"{name} is {value}")
            elif isinstance(value, int | float):
                self._latest[name] = step, float(value)
        if all(self._latest.get(name, (None,))[0] == step for name in self._names) and step > self.last_step:
            self.points.append((step, tuple(self._latest[name][1] for name in self._names)))
        return step if len(self.points) + len(self.broken) > before else None

    @property
    def last_step(self) -> float:
        """The step of the last point; -inf if there is none."""
        return self.points[-1][0] if self.points else -math.inf

    def at(self, level: int) -> tuple[int, Values] | None:
        """Returns the first point at step `level` or later; None if there is none yet."""
        return point_at(self.points, level)

    def until(self, step: int) -> list[tuple[int, Values]]:
        """Returns the points up to and including `step`."""
        return self.points[: bisect_left(self.points, step + 1, key=_step)]


def point_at(points: Sequence[tuple[int, Values]], level: int) -> tuple[int, Values] | None:
    """Returns the first of the ascending `points` at step `level` or later; None if there is none."""
    position = bisect_left(points, level, key=_step)
    return points[position] if position < len(points) else None


def counted_at(
    points: Sequence[tuple[int, Values]], level: int, objectives: Sequence[Objective]
) -> tuple[int, Values] | None:
    """Returns what counts at `point_at`: the values there, or the best until then of each objective that says so."""
    found = point_at(points, level)
    if found is None or all(objective.rule is ValueRule.LAST for objective in objectives):
        return found
    until = [values for _, values in points[: bisect_left(points, found[0], key=_step) + 1]]
    columns = zip(*until, strict=True)
    return found[0], tuple(o.rule.of(column) for o, column in zip(objectives, columns, strict=True))


def _step(point: tuple[int, Values]) -> int:
    return point[0]
