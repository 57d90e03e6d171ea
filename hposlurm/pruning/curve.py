"""What one trial has reported, in the form in which a rule looks at it. Nothing in it ever changes, it only grows."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

from hposlurm.trial import Objective, Outcome

Values = tuple[float, ...]


class Curve:
    """The steps at which every objective is known, ascending, folded from journal records in the order of writing.

    A step that is not beyond those before it is left out, as a resumed training repeats them: whoever looked at the
    trial before must find what was there then. `broken` says of each step with an objective that is no finite number
    what it was.
    """

    __slots__ = ("_latest", "_names", "broken", "is_complete", "points")

    def __init__(self, objectives: Sequence[Objective]) -> None:
        self._names = tuple(objective.metric for objective in objectives)
        self._latest: dict[str, tuple[int, float]] = {}
        self.points: list[tuple[int, Values]] = []
        self.broken: dict[int, str] = {}
        self.is_complete = False

    def take(self, record: Mapping[str, Any]) -> int | None:
        """Takes in a record of any kind, even a damaged one; the step that it tells something new of, else None."""
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
        """The step of the last point, below every step if there is none."""
        return self.points[-1][0] if self.points else -math.inf

    def at(self, level: int) -> tuple[int, Values] | None:
        """The first point at `level` or beyond; None if there is none yet."""
        return point_at(self.points, level)

    def until(self, step: int) -> list[tuple[int, Values]]:
        """The points up to `step`."""
        return self.points[: bisect_left(self.points, step + 1, key=_step)]


def point_at(points: Sequence[tuple[int, Values]], level: int) -> tuple[int, Values] | None:
    """The first of the ascending `points` at `level` or beyond; None if there is none."""
    position = bisect_left(points, level, key=_step)
    return points[position] if position < len(points) else None


def _step(point: tuple[int, Values]) -> int:
    return point[0]
