"""Points of a search space: exact values, identity, one random draw. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from hposlurm.search.unit import choice_index, from_unit, is_discrete, nth_value
from hposlurm.space import (
    UNSET,
    CategoricalParameter,
    FloatParameter,
    Parameter,
    SearchSpace,
    Unset,
)
from hposlurm.trial import Params, ParamValue

Point = dict[str, ParamValue]
Identity = frozenset[tuple[str, bool, ParamValue]]


def identity(params: Params) -> Identity:
    """Returns a key that two points share if they are the same configuration: 1 equals 1.0, and neither equals true.

    Agrees with `hposlurm.space.signature`, whose 32 bits would sometimes take a new point of a large grid for an old
    one.
    """
    return frozenset((name, isinstance(value, bool), value) for name, value in params.items())


def snap(parameter: Parameter, value: ParamValue) -> ParamValue | Unset:
    """Returns the parameter's own object for `value` (a choice, an exact step, a float for 1); UNSET if it has none."""
    if not parameter.contains(value):
        return UNSET
    if isinstance(parameter, FloatParameter):
        return parameter.snap(float(value or 0.0))
    if isinstance(parameter, CategoricalParameter):
        return parameter.choices[choice_index(parameter, value)]
    return value


def project(space: SearchSpace, params: Params) -> Point | None:
    """Returns the part of `params` that this space has, snapped; None if an active parameter has no valid value.

    A trial of an earlier, different space loses the parameters that were removed. The result is None if a value is no
    longer allowed or a new parameter is missing.
    """
    point: Point = {}
    for parameter in space.parameters:
        if space.is_active(parameter, point):
            value = snap(parameter, params[parameter.name]) if parameter.name in params else UNSET
            if isinstance(value, Unset):
                return None
            point[parameter.name] = value
    return point


def canonical(space: SearchSpace, params: Params) -> Point:
    """Returns all of `params` as `identity` compares them: those that the space has are snapped."""
    point = dict(params)
    for parameter in space.parameters:
        if parameter.name in params:
            value = snap(parameter, params[parameter.name])
            if not isinstance(value, Unset):
                point[parameter.name] = value
    return point


def given_defaults(space: SearchSpace) -> Point:
    """Returns the default of each parameter that has one, snapped, whether the parameter is active or not."""
    defaults: Point = {}
    for parameter in space.parameters:
        default = parameter.default
        if default is None and not isinstance(parameter, CategoricalParameter):
            continue
        value = UNSET if isinstance(default, Unset) else snap(parameter, default)
        if not isinstance(value, Unset):
            defaults[parameter.name] = value
    return defaults


def free_numbers(space: SearchSpace) -> tuple[Parameter, ...]:
    """Returns the numeric parameters that every configuration has and that have more than one value."""
    return tuple(
        p for p in space.parameters if not isinstance(p, CategoricalParameter) and p.condition is None and p.size != 1
    )


def draw_point(space: SearchSpace, rng: Random, fixed: Mapping[str, ParamValue] | None = None) -> Point:
    """Returns a random point of the space, with the values in `fixed` where their parameters are active.

    Constraints are ignored.
    """
    fixed = fixed or {}
    return space.filled(lambda p: fixed[p.name] if p.name in fixed else draw_value(p, rng))


def draw_value(parameter: Parameter, rng: Random) -> ParamValue:
    """Returns a random value of the parameter."""
    is_log = not isinstance(parameter, CategoricalParameter) and parameter.log
    if is_discrete(parameter) and not is_log:
        return nth_value(parameter, rng.randrange(parameter.size or 1))
    return from_unit(parameter, rng.random())
