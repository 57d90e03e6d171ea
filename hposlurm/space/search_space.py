"""The search space as plain data: parameters with their conditions, and the allowed combinations."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from hposlurm.space.constraint import Constraint
from hposlurm.space.expressions import ExpressionError
from hposlurm.space.metric_constraints import NO_LIMITS, Limits
from hposlurm.space.parameters import UNSET, CategoricalParameter, Parameter, SpaceError, Unset
from hposlurm.trial import Params, ParamValue

_USUAL_COST = 100  # of a configuration (SearchSpace.cost); spaces with more are counted less far


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """The parameters, and the constraints that a configuration must satisfy.

    Raises SpaceError for a condition or constraint that mentions an unknown name.
    """

    #: Each parameter comes after those that its condition mentions.
    parameters: tuple[Parameter, ...]
    #: Constraints on parameters and facts.
    constraints: tuple[Constraint, ...] = ()
    #: The values of names that conditions and constraints may use besides parameters, such as `gpus`.
    facts: Mapping[str, ParamValue] = field(default_factory=dict)
    #: Constraints on metrics.
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
    def _require(known: set[str], expression: Constraint, what: str) -> None:
        if missing := sorted(expression.names - known):
            raise SpaceError(f"{what} ({expression.text}) mentions {missing[0]}, which is not defined before it")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(p.name for p in self.parameters)

    def is_active(self, parameter: Parameter, params: Params) -> bool:
        """True if the condition of `parameter` holds for `params`, the values of the active parameters before it.

        False if the condition names an inactive parameter or has no value (1 / 0).
        """
        condition = parameter.condition
        if condition is None:
            return True
        try:
            return bool(condition.evaluate({**self.facts, **params}))
        except ExpressionError:
            return False

    def filled(self, value_of: Callable[[Parameter], ParamValue]) -> dict[str, ParamValue]:
        """Returns the configuration in which each active parameter has the value that `value_of` returns for it.

        Calls `value_of` in the order of the parameters, and only for active ones. Does not check constraints.
        """
        params: dict[str, ParamValue] = {}
        for parameter in self.parameters:
            if self.is_active(parameter, params):
                params[parameter.name] = value_of(parameter)
        return params

    def defaults(self) -> dict[str, ParamValue]:
        """Returns the default values of those active parameters that have one; {} if none has."""
        params: dict[str, ParamValue] = {}
        for parameter in self.parameters:
            default = parameter.default
            if default is None and not isinstance(parameter, CategoricalParameter):
                continue
            if not isinstance(default, Unset) and self.is_active(parameter, params):
                params[parameter.name] = default
        return params

    def violations(self, params: Params) -> tuple[float, ...]:
        """Returns one number per constraint: 0.0 if it holds or names an inactive parameter, else above 0.

        A constraint without a value (1 / 0) counts as violated by 1.0.
        """
        return tuple(self._violation(constraint, params) for constraint in self.constraints)

    def _violation(self, constraint: Constraint, params: Params) -> float:
        values = {**self.facts, **params}
        if not constraint.names <= values.keys():
            return 0.0
        try:
            return constraint.violation(values)
        except ExpressionError:
            return 1.0

    def keeps(self, constraint: Constraint, params: Params) -> bool:
        """True if `constraint` (which mentions only names of this space) holds or names an inactive parameter."""
        return self._violation(constraint, params) <= 0

    def is_feasible(self, params: Params) -> bool:
        """True if every constraint holds. Does not check ranges."""
        return all(self._violation(constraint, params) <= 0 for constraint in self.constraints)

    def contains(self, params: Params) -> bool:
        """True if `params` has exactly the active parameters, each with a valid value. Does not check constraints."""
        seen: dict[str, ParamValue] = {}
        for parameter in self.parameters:
            if self.is_active(parameter, seen):
                if parameter.name not in params or not parameter.contains(params[parameter.name]):
                    return False
                seen[parameter.name] = params[parameter.name]
        return seen.keys() == params.keys()

    def grid_points(self) -> Iterator[dict[str, ParamValue]]:
        """Returns an iterator over every feasible configuration; the last parameter varies fastest.

        Raises SpaceError, naming the parameter, if one is a continuous range.
        """
        for parameter in self.parameters:
            parameter.values()
        return (point for point in self._walk() if point is not None)

    def cardinality(self, limit: int) -> int | None:
        """Returns the number of feasible configurations; None if there are infinitely many or more than `limit`.

        None also if constraints reject too many for counting to be fast: over a hundred for each of `limit`, or fewer
        in a space with many parameters or long constraints.
        """
        if any(p.condition is None and p.size is None for p in self.parameters):
            return None
        count, most = 0, 100 * (limit + 100) * _USUAL_COST // max(_USUAL_COST, self.cost)
        try:
            for visited, point in enumerate(self._walk()):
                count += point is not None
                if count > limit or visited > most:
                    return None
        except SpaceError:  # a conditional continuous parameter is active somewhere
            return None
        return count

    @property
    def cost(self) -> int:
        """The steps to check one configuration: parameters, and the parts of conditions and constraints."""
        conditions = sum(p.condition.size for p in self.parameters if p.condition is not None)
        return len(self.parameters) + conditions + sum(constraint.size for constraint in self.constraints)

    def _walk(self) -> Iterator[dict[str, ParamValue] | None]:
        """Yields all configurations, depth first, and None for each branch that a constraint cuts off.

        Uses a stack instead of recursion: there may be more parameters than levels of Python's own stack.
        """
        due: list[list[Constraint]] = [[] for _ in range(len(self.parameters) + 1)]
        for constraint in self.constraints:
            positions = [i + 1 for i, p in enumerate(self.parameters) if p.name in constraint.names]
            due[max(positions, default=0)].append(constraint)
        params: dict[str, ParamValue] = {}
        if any(self._violation(c, params) > 0 for c in due[0]):
            return
        if not self.parameters:
            yield {}
            return
        branches = [self._values(self.parameters[0], params)]  # what is left of each parameter so far
        while branches:
            parameter = self.parameters[len(branches) - 1]
            params.pop(parameter.name, None)
            found = next(branches[-1], None)
            if found is None:
                branches.pop()
                continue
            if not isinstance(found, Unset):
                (params[parameter.name],) = found
                if any(self._violation(c, params) > 0 for c in due[len(branches)]):
                    yield None
                    continue
            if len(branches) == len(self.parameters):
                yield dict(params)
            else:
                branches.append(self._values(self.parameters[len(branches)], params))

    def _values(self, parameter: Parameter, params: Params) -> Iterator[tuple[ParamValue] | Unset]:
        """Returns the values of a parameter, each as a tuple; UNSET, once, where it is inactive.

        Constraints that name it hold there.
        """
        if not self.is_active(parameter, params):  # perhaps continuous, and without values to count
            return iter((UNSET,))
        values: Iterable[ParamValue] = parameter.values()
        return ((value,) for value in values)


def signature(params: Params) -> str:
    """Returns eight hexadecimal digits that identify a configuration, independent of the order of its parameters.

    A float without a fraction counts as an integer, so 1 and 1.0 have the same signature.
    """
    canonical = json.dumps({k: _canonical(v) for k, v in params.items()}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha1(canonical.encode(), usedforsecurity=False).hexdigest()[:8]


def _canonical(value: ParamValue) -> ParamValue:
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value
