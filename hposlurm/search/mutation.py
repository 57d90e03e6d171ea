"""A configuration like another one: the values that may change while a model is trained move a little. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from hposlurm.search.points import Point, choice_index, draw_point
from hposlurm.space import CategoricalParameter, IntParameter, Parameter, SearchSpace
from hposlurm.trial import Params, ParamValue

_TRIES = 100


def mutate(
    space: SearchSpace,
    params: Params,
    mutable: frozenset[str],
    rng: Random,
    resample_probability: float,
    factors: Sequence[float],
) -> Point:
    """`params` with other values of what is mutable, allowed by the constraints; `params` itself if none is found.

    Each value is drawn anew with `resample_probability`, else a number is multiplied by one of `factors`, within its
    range and on its steps, and a choice gives way to a neighbour of it. What becomes active by that is drawn.
    """
    for _ in range(_TRIES):
        point: Point = {}
        for parameter in space.parameters:
            if not space.is_active(parameter, point):
                continue
            name = parameter.name
            if name not in params or (name in mutable and rng.random() < resample_probability):
                point[name] = _drawn(parameter, rng)
            elif name in mutable:
                point[name] = _moved(parameter, params[name], rng, factors)
            else:
                point[name] = params[name]
        if point != dict(params) and space.is_feasible(point):
            return point
    return dict(params)


def _drawn(parameter: Parameter, rng: Random) -> ParamValue:
    (value,) = draw_point(SearchSpace((_unconditional(parameter),)), rng).values()
    return value


def _unconditional(parameter: Parameter) -> Parameter:
    from dataclasses import replace

    return replace(parameter, condition=None)


def _moved(parameter: Parameter, value: ParamValue, rng: Random, factors: Sequence[float]) -> ParamValue:
    if isinstance(parameter, CategoricalParameter):
        index = choice_index(parameter, value) + rng.choice((-1, 1))
        return parameter.choices[min(max(index, 0), len(parameter.choices) - 1)]
    assert isinstance(value, int | float)
    factor = rng.choice(factors)
    if isinstance(parameter, IntParameter):
        values = parameter.values()
        here = values.index(int(value))
        there = round((value * factor - parameter.low) / parameter.step)
    elif parameter.step is None:
        return parameter.snap(value * factor)
    else:
        values = range(parameter.size or 1)
        here = round((value - parameter.low) / parameter.step)
        there = round((value * factor - parameter.low) / parameter.step)
    if there == here:  # a small number, or a coarse grid: one step at least
        there += 1 if value * factor > value else -1 if value * factor < value else 0
    there = min(max(there, 0), len(values) - 1)
    return (
        values[there]
        if isinstance(parameter, IntParameter)
        else parameter.snap(parameter.low + there * (parameter.step or 0.0))
    )
