"""Makes data small: numbers of few digits, curves of few points, columns of few different values."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from hposlurm.trial import is_finite

T = TypeVar("T", bound=Hashable)

#: Significant digits of a number on the page; a figure shows fewer.
DIGITS = 6


@dataclass(frozen=True, slots=True)
class Indexed:
    """A column whose values repeat: the different values, and for each row the index of its value (None: no value)."""

    values: tuple[object, ...]
    rows: tuple[int | None, ...]


def short(value: float) -> float:
    """Returns a number with DIGITS significant digits; a whole number of fewer digits as an int, which is shorter."""
    if isinstance(value, int):
        return value
    found = float(f"{value:.{DIGITS}g}")
    return int(found) if abs(found) < 10**DIGITS and found.is_integer() else found


def short_or_none(value: object) -> float | None:
    """Returns a finite number as `short` does, and None for anything else."""
    return short(value) if is_finite(value) else None


def indexed(column: Iterable[T | None]) -> Indexed:
    """Returns a column with each different value once, in the order in which they come."""
    places: dict[T, int] = {}
    rows = tuple(None if value is None else places.setdefault(value, len(places)) for value in column)
    return Indexed(tuple(places), rows)


def kept_points(values: Sequence[float], most: int, *, is_lowest_best: bool) -> Sequence[int]:
    """Returns the indices of at most `most` (at least 3) of a curve's points: evenly spread, first, last and best."""
    count = len(values)
    if count <= most:
        return range(count)
    best = (min if is_lowest_best else max)(range(count), key=values.__getitem__)
    spread = most - 1  # leaves room for the best
    kept = {i * (count - 1) // (spread - 1) for i in range(spread)}
    return sorted({*kept, best})
