"""Mutates a configuration: changes the values that may change while a model is trained. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from hposlurm.search.points import Point, draw_value
from hposlurm.search.unit import index_of, nth_value
from hposlurm.space import CategoricalParameter, Parameter, SearchSpace
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
    """Returns `params` with other values of mutable parameters, within the constraints; `params` itself if none fits.

    With `resample_probability` a value is drawn at random. Otherwise a number is multiplied by one of `factors`, within
    its range and on its steps, and a choice becomes one of its neighbours. A parameter that becomes active is drawn at
    random, and so is a value that a changed space no longer contains.
    """

    def value(parameter: Parameter) -> ParamValue:
        name = parameter.name
        if name not in params:
            return draw_value(parameter, rng)
        if name not in mutable:
            return params[name]
        if rng.random() < resample_probability or not parameter.contains(params[name]):
            return draw_value(parameter, rng)
        return _moved(parameter, params[name], rng, factors)

    for _ in range(_TRIES):
        point: Point = space.filled(value)
        if point != dict(params) and space.is_feasible(point):
            return point
    return dict(params)


def _moved(parameter: Parameter, value: ParamValue, rng: Random, factors: Sequence[float]) -> ParamValue:
    if isinstance(parameter, CategoricalParameter):
        index = index_of(parameter, value) + rng.choice((-1, 1))
        return nth_value(parameter, min(max(index, 0), parameter.size - 1))
    assert isinstance(value, int | float)
    moved = value * rng.choice(factors)
    if parameter.step is None:
        return parameter.snap(moved)
    here, there = index_of(parameter, value), index_of(parameter, moved)
    if there == here:  # a small number, or a coarse grid: at least one step
        there += (moved > value) - (moved < value)
    return nth_value(parameter, min(max(there, 0), (parameter.size or 1) - 1))
