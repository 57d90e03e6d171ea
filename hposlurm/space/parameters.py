"""Parameters as plain data: the values of each, and the condition under which it has one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from typing import Final

from hposlurm.errors import RequestError
from hposlurm.space.expressions import Expression
from hposlurm.trial import ParamValue


class SpaceError(RequestError):
    """A search space does not support what was requested. The message names the parameter."""


class Unset(Enum):
    """The type of UNSET, which means "no default" where None is a valid value."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET


@dataclass(frozen=True, slots=True)
class FloatParameter:
    """A real number from `low` to `high`, both included. With `step` only low, low + step, low + 2·step, …"""

    name: str
    low: float
    high: float
    log: bool = False
    step: float | None = None
    default: float | None = None
    condition: Expression | None = None

    @property
    def size(self) -> int | None:
        """The number of values; None for a continuous range."""
        if self.low == self.high:
            return 1
        if self.step is None:
            return None
        return int((_exact(self.high) - _exact(self.low)) // _exact(self.step)) + 1

    def values(self) -> Iterator[float]:
        """Returns all values in ascending order. Raises SpaceError for a continuous range."""
        size = self.size
        if size is None:
            raise SpaceError(f"parameters.{self.name}: a grid needs `choices` or a `step`; this range is continuous")
        return (self._at(i) for i in range(size))

    def snap(self, value: float) -> float:
        """Returns the nearest value of the range, on the step grid if there is one, without floating-point error."""
        if self.step is None or self.low == self.high:
            return float(min(max(value, self.low), self.high))
        index = round((_exact(value) - _exact(self.low)) / _exact(self.step))
        return self._at(min(max(index, 0), (self.size or 1) - 1))

    def contains(self, value: ParamValue) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        return self.step is None or abs(value - self.snap(value)) <= 1e-9 * self.step

    def _at(self, index: int) -> float:
        # Exact arithmetic: 0.1 + 2 * 0.1 must be 0.3, so that results compare equal
        return float(_exact(self.low) + index * _exact(self.step or 0.0))


@dataclass(frozen=True, slots=True)
class IntParameter:
    """An integer from `low` to `high`, both included, in steps of `step`."""

    name: str
    low: int
    high: int
    log: bool = False
    step: int = 1
    default: int | None = None
    condition: Expression | None = None

    @property
    def size(self) -> int:
        return len(self.values())

    def values(self) -> range:
        """Returns all values in ascending order."""
        return range(self.low, self.high + 1, self.step)

    def contains(self, value: ParamValue) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and value in self.values()


@dataclass(frozen=True, slots=True)
class CategoricalParameter:
    """One of `choices`, in the order of the study file."""

    name: str
    choices: tuple[ParamValue, ...]
    default: ParamValue | Unset = UNSET
    condition: Expression | None = None

    @property
    def size(self) -> int:
        return len(self.choices)

    def values(self) -> tuple[ParamValue, ...]:
        return self.choices

    def contains(self, value: ParamValue) -> bool:
        return any(same_value(value, choice) for choice in self.choices)


Parameter = FloatParameter | IntParameter | CategoricalParameter


def same_value(a: ParamValue, b: ParamValue) -> bool:
    """True if both are equal as parameter values: 1 and 1.0 are, 1 and true are not."""
    return a == b and isinstance(a, bool) == isinstance(b, bool)


def _exact(value: float) -> Fraction:
    """Returns the decimal number as written, not its binary approximation."""
    return Fraction(repr(float(value)))
