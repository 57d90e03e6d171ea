"""Points of a search space: exact values, identity, one random draw. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from random import Random

from hposlurm.space import (
    UNSET,
    CategoricalParameter,
    FloatParameter,
    IntParameter,
    Parameter,
    SearchSpace,
    Unset,
    same_value,
)
from hposlurm.trial import Params, ParamValue

Point = dict[str, ParamValue]
Identity = frozenset[tuple[str, bool, ParamValue]]


def identity(params: Params) -> Identity:
    """What two points that are the same configuration have in common: 1 equals 1.0, and neither equals true.

    Agrees with `hposlurm.space.signature`, whose 32 bits would now and then take a new point of a large grid for an
    old one.
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


def choice_index(parameter: CategoricalParameter, value: ParamValue) -> int:
    """Returns where the choice `value` stands: of its own type if there is one, so that 1.0 is not taken for 1."""
    equal = [i for i, choice in enumerate(parameter.choices) if same_value(choice, value)]
    return next((i for i in equal if type(parameter.choices[i]) is type(value)), equal[0])


def project(space: SearchSpace, params: Params) -> Point | None:
    """Returns the part of `params` that this space knows, snapped; None where an active parameter has no valid value.

    Trials of an earlier, different space lose the parameters that are gone, and are left out where a value is not
    allowed any more or a new parameter is missing.
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
    """Returns all of `params`, those that the space knows snapped: what `identity` compares."""
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


def draw_point(space: SearchSpace, rng: Random, fixed: Mapping[str, ParamValue] | None = None) -> Point:
    """Returns a random point of the space, with the values in `fixed` where their parameters are active.

    The constraints are not looked at.
    """
    fixed = fixed or {}
    point: Point = {}
    for parameter in space.parameters:
        if space.is_active(parameter, point):
            known = parameter.name in fixed
            point[parameter.name] = fixed[parameter.name] if known else _draw(parameter, rng)
    return point


def _draw(parameter: Parameter, rng: Random) -> ParamValue:
    if isinstance(parameter, CategoricalParameter):
        return rng.choice(parameter.choices)
    if isinstance(parameter, IntParameter):
        return _draw_log_int(parameter, rng) if parameter.log else rng.choice(parameter.values())
    if parameter.step is not None:
        return parameter.snap(parameter.low + rng.randrange(parameter.size or 1) * parameter.step)
    if parameter.log:
        return parameter.snap(math.exp(rng.uniform(math.log(parameter.low), math.log(parameter.high))))
    return parameter.snap(rng.uniform(parameter.low, parameter.high))


def _draw_log_int(parameter: IntParameter, rng: Random) -> int:
    # Half a unit more at both ends, so that the two outermost numbers get their full share
    number = round(math.exp(rng.uniform(math.log(parameter.low - 0.5), math.log(parameter.high + 0.5))))
    values = parameter.values()
    index = round((number - parameter.low) / parameter.step)
    return values[min(max(index, 0), len(values) - 1)]
