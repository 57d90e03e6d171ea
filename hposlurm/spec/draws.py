"""Draws configurations of a space, to try a study out before its launch."""

from __future__ import annotations

import random
from collections.abc import Sequence

from hposlurm.space import CategoricalParameter, IntParameter, Parameter, SearchSpace
from hposlurm.trial import ParamValue

_COUNT = 300

Drawn = Sequence[dict[str, ParamValue]]


def draw(space: SearchSpace) -> Drawn:
    """Returns a few hundred configurations, always the same ones; constraints are not looked at."""
    return [_one(space, random.Random(index)) for index in range(_COUNT)]


def _one(space: SearchSpace, rng: random.Random) -> dict[str, ParamValue]:
    return space.filled(lambda parameter: _value(parameter, rng))


def _value(parameter: Parameter, rng: random.Random) -> ParamValue:
    if isinstance(parameter, CategoricalParameter | IntParameter):
        return rng.choice(parameter.values())
    # also the ends of the range: they reveal a division by zero or a wrong bound
    return parameter.snap(rng.choice((parameter.low, parameter.high, rng.uniform(parameter.low, parameter.high))))
