"""Translates points of a search space into rows of the unit cube, many at a time, and back.

A row has one number per parameter: the coordinate of a number (see `hposlurm.search.unit`), the index of a choice, NaN
if the parameter is inactive. A row that `snapped` returns belongs to exactly one point. Two points of a space have the
same row only if they are the same configuration.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hposlurm.search.points import Point, snap
from hposlurm.search.unit import from_unit, index_of, nth_value, to_unit
from hposlurm.space import UNSET, CategoricalParameter, FloatParameter, IntParameter, Parameter, SearchSpace, Unset
from hposlurm.trial import Params, ParamValue

Floats = NDArray[np.float64]
MISSING = 0.5  # the place of an inactive number for the model: the middle, nearest to all values
MOST_KNOWN = 100_000  # places that an axis caches: about 10 MB
_ABSENT = object()


@dataclass(frozen=True, slots=True)
class Axis:
    """Translates between the values of one parameter and their places in a row."""

    parameter: Parameter
    #: the bounds of a continuous range; their logarithms if `log`
    low: float
    high: float
    log: bool
    #: how many values there are; None if the parameter is continuous
    cells: int | None
    memo: dict[tuple[object, type], float] = field(default_factory=dict, compare=False, repr=False)

    @property
    def is_choice(self) -> bool:
        return isinstance(self.parameter, CategoricalParameter)

    @property
    def choices(self) -> int:
        return self.cells or 1

    def place(self, value: ParamValue) -> float:
        """Returns the place of a value that the parameter has."""
        if self.is_choice:
            return float(index_of(self.parameter, value))
        if self.cells is None and self.log:
            # The difference of the logarithms, as in `places`; the last bit of `to_unit` may differ
            assert isinstance(value, int | float)
            return min(max((math.log(value) - self.low) / (self.high - self.low), 0.0), 1.0)
        return to_unit(self.parameter, value)

    def places(self, values: Sequence[object]) -> Floats:
        """Returns the place of each value; NaN for one that the parameter cannot have."""
        kinds, parameter = set(map(type, values)), self.parameter
        if kinds == {float} and isinstance(parameter, FloatParameter) and parameter.size is None:
            numbers = np.array(values, dtype=float)
            with np.errstate(invalid="ignore", divide="ignore"):
                column = ((np.log(numbers) if self.log else numbers) - self.low) / (self.high - self.low)
            is_valid = (numbers >= parameter.low) & (numbers <= parameter.high)
            return np.where(is_valid, np.clip(column, 0.0, 1.0), np.nan)
        keys = list(zip(values, map(type, values), strict=True))
        if len(self.memo) > MOST_KNOWN:
            self.memo.clear()
        for key in set(keys) - self.memo.keys():
            exact = UNSET if key[0] is _ABSENT else snap(parameter, key[0])  # type: ignore[arg-type]
            self.memo[key] = math.nan if isinstance(exact, Unset) else self.place(exact)
        return np.array(list(map(self.memo.__getitem__, keys)), dtype=float)

    def value(self, place: float) -> ParamValue:
        """Returns the value whose cell contains a place."""
        if isinstance(self.parameter, CategoricalParameter):
            return nth_value(self.parameter, min(max(int(place), 0), self.parameter.size - 1))
        return from_unit(self.parameter, place)


class Encoder:
    """Translates between the points of one space and rows; `axes` has the parameters in the space's order."""

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self._text = repr(space)
        self.axes = tuple(_axis(parameter) for parameter in space.parameters)
        self.is_choice = np.array([axis.is_choice for axis in self.axes], dtype=bool)
        self.is_free = not space.constraints and all(p.condition is None for p in space.parameters)
        self._tables = [_table(axis) for axis in self.axes]
        self._activity: list[dict[tuple[ParamValue, ...], bool]] = [{} for _ in self.axes]
        self._is_conditional = any(p.condition is not None for p in space.parameters)

    def is_of(self, space: SearchSpace) -> bool:
        """True if it translates for `space`, or for one with the same repr: 1 and true are equal for Python."""
        return space is self.space or repr(space) == self._text

    @property
    def size(self) -> int:
        return len(self.axes)

    def rows(self, points: Sequence[Params]) -> tuple[Floats, NDArray[np.bool_]]:
        """Returns the row of each point, and True for each point in the space.

        A point outside (a trial of an earlier, different space) has a row of NaN.
        """
        rows = np.full((len(points), self.size), np.nan)
        inside = np.ones(len(points), dtype=bool)
        everywhere = range(len(points))
        for j, axis in enumerate(self.axes):
            name = axis.parameter.name
            at: Sequence[int] = everywhere
            if axis.parameter.condition is not None:
                at = [i for i in everywhere if self._is_active(j, points[i])]
            column = axis.places([points[i].get(name, _ABSENT) for i in at])
            rows[at, j] = column
            inside[at] &= ~np.isnan(column)
        rows[~inside] = np.nan
        return rows, inside

    def point(self, row: Floats) -> Point:
        """Returns the point whose cell contains a row; conditions decide which parameters it has."""
        places = dict(zip(self.space.names, zip(self.axes, row.tolist(), strict=True), strict=True))

        def value(parameter: Parameter) -> ParamValue:
            axis, place = places[parameter.name]
            return axis.value(MISSING if math.isnan(place) else place)

        return self.space.filled(value)

    def row(self, point: Params) -> Floats:
        """Returns the row of a point of this space."""
        places = [
            axis.place(point[axis.parameter.name]) if axis.parameter.name in point else math.nan for axis in self.axes
        ]
        return np.array(places)

    def snapped(self, rows: Floats) -> Floats:
        """Returns the rows of the points in whose cells `rows` lie; NaN of an active parameter counts as the middle."""
        result = np.where(np.isnan(rows), MISSING, rows)
        for j, table in enumerate(self._tables):
            if table is not None:
                result[:, j] = table(result[:, j])
        if self._is_conditional:
            for i in range(len(result)):
                self._blank(result[i])
        return result

    def features(self, rows: Floats) -> Floats:
        """Returns coordinates for distances: numbers unchanged, each choice as an axis, at equal distances."""
        blocks = []
        for j, axis in enumerate(self.axes):
            column = rows[:, j]
            if axis.is_choice:
                blocks.append((column[:, None] == np.arange(axis.choices)) / math.sqrt(2.0))
            else:
                blocks.append(np.where(np.isnan(column), MISSING, column)[:, None])
        return np.hstack(blocks) if blocks else np.zeros((len(rows), 0))

    def uniform(self, rng: np.random.Generator, n: int) -> Floats:
        """Returns rows of `n` random points, uniform in the unit cube as those of `draw_point`; ignores constraints."""
        rows = rng.random((n, self.size))
        for j, axis in enumerate(self.axes):
            if axis.is_choice:
                rows[:, j] = np.floor(rows[:, j] * axis.choices)
        return self.snapped(rows)

    def _is_active(self, index: int, params: Params) -> bool:
        """True if a conditional parameter is active; cached by the values that its condition depends on."""
        parameter = self.axes[index].parameter
        assert parameter.condition is not None
        key = tuple(params.get(name) for name in sorted(parameter.condition.names))
        known = self._activity[index]
        key = (*key, *(type(k) is bool for k in key))
        if key not in known:
            if len(known) > 5000:
                known.clear()
            known[key] = self.space.is_active(parameter, self._active_only(index, params))
        return known[key]

    def _active_only(self, index: int, params: Params) -> Params:
        return {a.parameter.name: params[a.parameter.name] for a in self.axes[:index] if a.parameter.name in params}

    def _blank(self, row: Floats) -> None:
        """Sets the row's inactive parameters to NaN."""
        point: Point = {}
        for j, axis in enumerate(self.axes):
            if axis.parameter.condition is None or self._is_active(j, point):
                point[axis.parameter.name] = axis.value(row[j])
            else:
                row[j] = np.nan


def _axis(parameter: Parameter) -> Axis:
    if isinstance(parameter, CategoricalParameter) or parameter.size is not None:
        return Axis(parameter, 0.0, 1.0, False, parameter.size)
    low, high = float(parameter.low), float(parameter.high)
    if parameter.log:
        low, high = math.log(low), math.log(high)
    return Axis(parameter, low, high, parameter.log, None)


def _table(axis: Axis) -> Callable[[Floats], Floats] | None:
    """Returns the function that snaps a column of places; None if every place is its own value."""
    if axis.cells is None:
        return None
    parameter = axis.parameter
    if axis.is_choice:
        return lambda column: np.clip(np.floor(column), 0, axis.choices - 1)
    if axis.cells > 100_000:  # a table of them would take too long to build
        return lambda column: np.array([axis.place(axis.value(place)) for place in column.tolist()])
    places = np.array([axis.place(value) for value in parameter.values()])
    if isinstance(parameter, IntParameter) and parameter.log and axis.cells > 1:
        # a logarithmic cell ends half a unit beyond its value
        ends = np.array([axis.place(value + 0.5) for value in parameter.values()])[:-1]
        return lambda column: places[np.searchsorted(ends, column)]
    return lambda column: places[np.clip((column * len(places)).astype(int), 0, len(places) - 1)]
