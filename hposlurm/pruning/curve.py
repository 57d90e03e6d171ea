"""The reports of one trial in the form that rules use. A curve only grows; recorded points never change."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, overload

from hposlurm.trial import Objective, Outcome, ValueRule

Values = tuple[float, ...]
Point = tuple[int, Values]
# Steps beyond it are damage: a journal's reader does not take them either
_LARGEST_STEP = 2**63 - 1


class Points(Sequence[Point]):
    """The first `count` points of a curve: the ascending steps, and the values of the objectives there.

    Nothing is copied, and a number takes 8 bytes: a trial may report a million times, and rules that compare trials
    step by step need each of the values.
    """

    __slots__ = ("_count", "columns", "steps")

    def __init__(self, steps: array[int], columns: Sequence[array[float]], count: int) -> None:
        self.steps = steps
        self.columns = columns
        self._count = count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, place: int) -> Point: ...
    @overload
    def __getitem__(self, place: slice) -> Points: ...
    def __getitem__(self, place: int | slice) -> Point | Points:
        if isinstance(place, slice):
            begin, end, pace = place.indices(self._count)
            if begin or pace != 1:
                raise IndexError("only the first points are a part of a curve")
            return Points(self.steps, self.columns, max(end, 0))
        at = place + self._count if place < 0 else place
        if not 0 <= at < self._count:
            raise IndexError(place)
        return self.steps[at], tuple(column[at] for column in self.columns)

    def __iter__(self) -> Iterator[Point]:
        values = zip(*self.columns, strict=True)
        for step, value, _ in zip(self.steps, values, range(self._count), strict=False):
            yield step, value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and [*self] == [*other]

    __hash__ = None  # type: ignore[assignment]  # it is compared by its points

    def place_of(self, level: int) -> int:
        """Returns the place of the first point at step `level` or later; the number of points if there is none."""
        return bisect_left(self.steps, level, hi=self._count)


class Curve:
    """The ascending steps at which every objective is known, read from journal records in the order of writing.

    Ignores a step that is not after all earlier ones: a resumed training repeats steps, and a decision that was
    made before must find the same points again.

    broken: for each step with an objective that is not a finite number, a text such as "loss is nan".
    """

    __slots__ = (
        *("_best", "_columns", "_is_passing", "_latest", "_levels", "_names", "_reached", "_steps"),
        *("broken", "is_complete"),
    )

    def __init__(self, objectives: Sequence[Objective], levels: Sequence[int] = ()) -> None:
        """With `levels`, ascending, only those points are kept that `counted_at` uses there, and the newest one."""
        self._names = tuple(objective.metric for objective in objectives)
        self._latest: dict[str, tuple[int, float]] = {}
        self._steps = array("q")
        self._columns = [array("d") for _ in objectives]
        self._levels = tuple(levels)
        self._reached = 0  # the number of levels that a point has reached
        self._best: dict[tuple[int, bool], Point] = {}  # of each objective the lowest and the highest value so far
        self._is_passing = False  # True if the newest point is kept only as long as it is the newest
        self.broken: dict[int, str] = {}
        self.is_complete = False

    def take(self, record: Mapping[str, Any]) -> int | None:
        """Adds a record of any kind, even a damaged one. Returns the step for which it has new values, else None."""
        kind, step, metrics = record.get("kind"), record.get("step"), record.get("metrics")
        if kind == "end" and record.get("outcome") == Outcome.COMPLETE:
            self.is_complete = True
        if kind != "report" or not isinstance(metrics, Mapping) or type(step) is not int or abs(step) > _LARGEST_STEP:
            return None
        before = len(self.broken)
        for name in self._names:
            value = metrics.get(name)
            if isinstance(value, str):
                self.broken.setdefault(step, f"{name} is {value}")
            elif isinstance(value, int | float):
                self._latest[name] = step, float(value)
        is_known = all(self._latest.get(name, (None,))[0] == step for name in self._names)
        is_new = is_known and (not self._steps or step > self._steps[-1])
        if is_new:
            self._add((step, tuple(self._latest[name][1] for name in self._names)))
        return step if is_new or len(self.broken) > before else None

    def _add(self, point: Point) -> None:
        if self._levels:
            self._make_room(point)
        self._append(point)

    def _append(self, point: Point) -> None:
        self._steps.append(point[0])
        for column, value in zip(self._columns, point[1], strict=True):
            column.append(value)

    def _make_room(self, point: Point) -> None:
        """Removes the newest point where it does not count, and adds the best ones if `point` is the first at a level.

        Those before an earlier level were added there.
        """
        if self._is_passing:
            self._steps.pop()
            for column in self._columns:
                column.pop()
        reached = bisect_right(self._levels, point[0])
        self._is_passing = reached == self._reached
        if not self._is_passing:
            self._reached, known = reached, self.last_step
            for best in sorted({best for best in self._best.values() if best[0] > known}):
                self._append(best)
        for place, value in enumerate(point[1]):
            for is_highest in (False, True):
                best = self._best.setdefault((place, is_highest), point)
                if value > best[1][place] if is_highest else value < best[1][place]:
                    self._best[place, is_highest] = point

    @property
    def points(self) -> Points:
        """All points as of now."""
        return Points(self._steps, self._columns, len(self._steps))

    @property
    def last_step(self) -> float:
        """The step of the last point; -inf if there is none."""
        return self._steps[-1] if self._steps else -math.inf

    def at(self, level: int) -> Point | None:
        """Returns the first point at step `level` or later; None if there is none yet."""
        return point_at(self.points, level)

    def until(self, step: int) -> Points:
        """Returns the points up to and including `step`."""
        return self.points[: self.points.place_of(step + 1)]


def point_at(points: Points, level: int) -> Point | None:
    """Returns the first of the ascending `points` at step `level` or later; None if there is none."""
    place = points.place_of(level)
    return points[place] if place < len(points) else None


def counted_at(points: Points, level: int, objectives: Sequence[Objective]) -> Point | None:
    """Returns what counts at `point_at`: the values there, or the best until then of each objective that says so."""
    place = points.place_of(level)
    if place == len(points):
        return None
    found = points[place]
    if all(objective.rule is ValueRule.LAST for objective in objectives):
        return found
    columns = zip(*(values for _, values in points[: place + 1]), strict=True)
    return found[0], tuple(o.rule.of(column) for o, column in zip(objectives, columns, strict=True))
