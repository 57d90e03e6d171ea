"""The search space as plain data: what each parameter may be, when it is active, and which combinations are allowed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from fractions import Fraction
from typing import Final

from hposlurm.errors import RequestError
from hposlurm.space.expressions import Expression, ExpressionError
from hposlurm.space.metric_constraints import NO_LIMITS, Limits
from hposlurm.trial import Params, ParamValue


class SpaceError(RequestError):
    """A search space cannot do what is asked of it; the message names the parameter."""


class Unset(Enum):
    """The type of UNSET, which stands for "no default" where None is a legal value."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET


@dataclass(frozen=True, slots=True)
class FloatParameter:
    """A real number from `low` to `high`, both included; with `step` only low, low + step, low + 2·step, …"""

    name: str
    low: float
    high: float
    log: bool = False
    step: float | None = None
    default: float | None = None
    condition: Expression | None = None

    @property
    def size(self) -> int | None:
        """How many values there are; None for a continuous range."""
        if self.low == self.high:
            return 1
        if self.step is None:
            return None
        return int((_exact(self.high) - _exact(self.low)) // _exact(self.step)) + 1

    def values(self) -> Iterator[float]:
        """All values in ascending order; raises SpaceError for a continuous range."""
        size = self.size
        if size is None:
            raise SpaceError(f"parameters.{self.name}: a grid needs `choices` or a `step`; this range is continuous")
        return (self._at(i) for i in range(size))

    def snap(self, value: float) -> float:
        """The nearest value of the range (and of the step grid, without the artefacts of adding floats)."""
        if self.step is None or self.low == self.high:
            return float(min(max(value, self.low), self.high))
        index = round((_exact(value) - _exact(self.low)) / _exact(self.step))
        return self._at(min(max(index, 0), (self.size or 1) - 1))

    def contains(self, value: ParamValue) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        return self.step is None or abs(value - self.snap(value)) <= 1e-9 * self.step

    def _at(self, index: int) -> float:
        # Exactly: 0.1 + 2 * 0.1 is 0.3 to a person, and must be to whoever compares results
        return float(_exact(self.low) + index * _exact(self.step or 0.0))


@dataclass(frozen=True, slots=True)
class IntParameter:
    """A whole number from `low` to `high`, both included, in steps of `step`."""

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
        """All values in ascending order."""
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


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """All parameters, a condition's names always before it, and the constraints that a configuration must satisfy.

    `facts` are the names that conditions and constraints may use besides parameters, such as `gpus`. Raises SpaceError
    for a condition or constraint that mentions anything else. `limits` are those on what a trial measures.
    """

    parameters: tuple[Parameter, ...]
    constraints: tuple[Expression, ...] = ()
    facts: Mapping[str, ParamValue] = field(default_factory=dict)
    limits: Limits = NO_LIMITS

    def __post_init__(self) -> None:
        known = set(self.facts)
        for parameter in self.parameters:
            if parameter.condition is not None:
                self._require(known, parameter.condition, f"the condition of {parameter.name}")
            known.add(parameter.name)
        for constraint in self.constraints:
            self._require(known, constraint, "a constraint")

    @staticmethod
    def _require(known: set[str], expression: Expression, what: str) -> None:
        if missing := sorted(expression.names - known):
            raise SpaceError(f"{what} ({expression}) mentions {missing[0]}, which is not defined before it")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(p.name for p in self.parameters)

    def is_active(self, parameter: Parameter, params: Params) -> bool:
        """Whether `parameter` has a value beside `params`, which holds every active parameter before it.

        False when a parameter in its condition is itself inactive, or when the condition has no value (1 / 0).
        """
        condition = parameter.condition
        if condition is None:
            return True
        try:
            return bool(condition.evaluate({**self.facts, **params}))
        except ExpressionError:
            return False

    def filled(self, value_of: Callable[[Parameter], ParamValue]) -> dict[str, ParamValue]:
        """Returns the point in which each active parameter has the value that `value_of` gives for it.

        `value_of` is asked in the order of the parameters, and only for active ones. Constraints are not checked.
        """
        params: dict[str, ParamValue] = {}
        for parameter in self.parameters:
            if self.is_active(parameter, params):
                params[parameter.name] = value_of(parameter)
        return params

    def defaults(self) -> dict[str, ParamValue]:
        """The default values of the active parameters that have one: possibly of some only, possibly none."""
        params: dict[str, ParamValue] = {}
        for parameter in self.parameters:
            default = parameter.default
            if default is None and not isinstance(parameter, CategoricalParameter):
                continue
            if not isinstance(default, Unset) and self.is_active(parameter, params):
                params[parameter.name] = default
        return params

    def violations(self, params: Params) -> tuple[float, ...]:
        """One number per constraint: 0.0 where it holds or names an inactive parameter, above 0 where it is violated.

        A constraint without a value (1 / 0) counts as violated by 1.0.
        """
        return tuple(self._violation(constraint, params) for constraint in self.constraints)

    def _violation(self, constraint: Expression, params: Params) -> float:
        values = {**self.facts, **params}
        if not constraint.names <= values.keys():
            return 0.0
        try:
            return constraint.violation(values)
        except ExpressionError:
            return 1.0

    def keeps(self, constraint: Expression, params: Params) -> bool:
        """Whether `constraint`, one of this space's names, holds; it does where it names an inactive parameter."""
        return self._violation(constraint, params) <= 0

    def is_feasible(self, params: Params) -> bool:
        """Whether every constraint holds; says nothing about ranges."""
        return all(v <= 0 for v in self.violations(params))

    def contains(self, params: Params) -> bool:
        """Whether `params` has exactly the active parameters, each with a value of its range; ignores constraints."""
        seen: dict[str, ParamValue] = {}
        for parameter in self.parameters:
            if self.is_active(parameter, seen):
                if parameter.name not in params or not parameter.contains(params[parameter.name]):
                    return False
                seen[parameter.name] = params[parameter.name]
        return seen.keys() == params.keys()

    def grid_points(self) -> Iterator[dict[str, ParamValue]]:
        """Every feasible configuration, the last parameter varying fastest.

        Raises SpaceError, naming the parameter, where one is a continuous range.
        """
        for parameter in self.parameters:
            parameter.values()
        return (point for point in self._walk() if point is not None)

    def cardinality(self, limit: int) -> int | None:
        """How many feasible configurations there are; None if there are infinitely many or more than `limit`.

        None also where constraints refuse so many that counting would take long: over a hundred for each of `limit`.
        """
        if any(p.condition is None and p.size is None for p in self.parameters):
            return None
        count = 0
        try:
            for visited, point in enumerate(self._walk()):
                count += point is not None
                if count > limit or visited > 100 * (limit + 100):
                    return None
        except SpaceError:  # a conditional continuous parameter that does become active
            return None
        return count

    def _walk(self) -> Iterator[dict[str, ParamValue] | None]:
        """Depth first through all configurations; None for each branch that a constraint cuts off."""
        due: list[list[Expression]] = [[] for _ in range(len(self.parameters) + 1)]
        for constraint in self.constraints:
            positions = [i + 1 for i, p in enumerate(self.parameters) if p.name in constraint.names]
            due[max(positions, default=0)].append(constraint)
        params: dict[str, ParamValue] = {}
        if any(self._violation(c, params) > 0 for c in due[0]):
            return
        yield from self._branch(0, params, due)

    def _branch(
        self, index: int, params: dict[str, ParamValue], due: list[list[Expression]]
    ) -> Iterator[dict[str, ParamValue] | None]:
        if index == len(self.parameters):
            yield dict(params)
            return
        parameter = self.parameters[index]
        if not self.is_active(parameter, params):
            # constraints due here name this parameter, and one that names an inactive parameter holds
            yield from self._branch(index + 1, params, due)
            return
        values: Iterable[ParamValue] = parameter.values()
        for value in values:
            params[parameter.name] = value
            if any(self._violation(c, params) > 0 for c in due[index + 1]):
                yield None
            else:
                yield from self._branch(index + 1, params, due)
        params.pop(parameter.name, None)


def same_value(a: ParamValue, b: ParamValue) -> bool:
    """Equal as parameter values: 1 and 1.0 are, 1 and true are not."""
    return a == b and isinstance(a, bool) == isinstance(b, bool)


def signature(params: Params) -> str:
    """Eight hexadecimal digits that name a configuration: equal for equal values, whatever their order.

    A float without a fraction counts as the whole number that it is, so 1 and 1.0 do not differ.
    """
    canonical = json.dumps({k: _canonical(v) for k, v in params.items()}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha1(canonical.encode(), usedforsecurity=False).hexdigest()[:8]


def _canonical(value: ParamValue) -> ParamValue:
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value


def _exact(value: float) -> Fraction:
    """The decimal number that a person wrote, not the binary one next to it."""
    return Fraction(repr(float(value)))
