"""A configuration like another one: the values that may change while a model is trained move a little. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
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
    range and on its steps, and a choice gives way to a neighbour of it. What becomes active by that is drawn, and so is
    a value outside of a space that was changed.
    """
    for _ in range(_TRIES):
        point: Point = {}
        for parameter in space.parameters:
            if not space.is_active(parameter, point):
                continue
            name = parameter.name
            if name not in params:
                point[name] = _drawn(parameter, rng)
            elif name not in mutable:
                point[name] = params[name]
            elif rng.random() < resample_probability or not parameter.contains(params[name]):
                point[name] = _drawn(parameter, rng)
            else:
                point[name] = _moved(parameter, params[name], rng, factors)
        if point != dict(params) and space.is_feasible(point):
            return point
    return dict(params)


def _drawn(parameter: Parameter, rng: Random) -> ParamValue:
    (value,) = draw_point(SearchSpace((replace(parameter, condition=None),)), rng).values()
    return value


def _moved(parameter: Parameter, value: ParamValue, rng: Random, factors: Sequence[float]) -> ParamValue:
    if isinstance(parameter, CategoricalParameter):
        index = choice_index(parameter, value) + rng.choice((-1, 1))
        return parameter.choices[min(max(index, 0), len(parameter.choices) - 1)]
    assert isinstance(value, int | float)
    moved = value * rng.choice(factors)
    if parameter.step is None:
        return parameter.snap(moved)
    here, there = (round((v - parameter.low) / parameter.step) for v in (value, moved))
    if there == here:  # a small number, or a coarse grid: one step at least
        there += (moved > value) - (moved < value)
    there = min(max(there, 0), (parameter.size or 1) - 1)
    if isinstance(parameter, IntParameter):
        return parameter.values()[there]
    return parameter.snap(parameter.low + there * parameter.step)
