"""Parameters as coordinates from 0 to 1: logarithmic where they are, each discrete value with an equal share.

Standard library only.
"""

from __future__ import annotations

import math

from hposlurm.search.points import choice_index
from hposlurm.space import CategoricalParameter, FloatParameter, IntParameter, Parameter
from hposlurm.trial import ParamValue


def from_unit(parameter: Parameter, coordinate: float) -> ParamValue:
    """Returns the value at `coordinate`; what lies below 0 or above 1 counts as the end of the range."""
    coordinate = min(max(coordinate, 0.0), 1.0)
    if isinstance(parameter, FloatParameter) and parameter.step is None:
        if not parameter.log:
            return parameter.snap(parameter.low + coordinate * (parameter.high - parameter.low))
        low, high = math.log(parameter.low), math.log(parameter.high)
        return parameter.snap(math.exp(low + coordinate * (high - low)))
    if isinstance(parameter, IntParameter) and parameter.log:
        low, high = _log_bounds(parameter)
        index = round((math.exp(low + coordinate * (high - low)) - parameter.low) / parameter.step)
        return parameter.values()[min(max(index, 0), parameter.size - 1)]
    size = parameter.size or 1
    index = min(int(coordinate * size), size - 1)
    if isinstance(parameter, FloatParameter):
        return parameter.snap(parameter.low + index * (parameter.step or 0.0))
    return parameter.values()[index]


def to_unit(parameter: Parameter, value: ParamValue) -> float:
    """Returns the coordinate of `value`, which must be one of the parameter's: the middle of its share if discrete."""
    if isinstance(parameter, CategoricalParameter):
        return (choice_index(parameter, value) + 0.5) / parameter.size
    assert isinstance(value, int | float)
    if parameter.size == 1:
        return 0.5
    if isinstance(parameter, FloatParameter) and parameter.step is None:
        if not parameter.log:
            return (value - parameter.low) / (parameter.high - parameter.low)
        return math.log(value / parameter.low) / math.log(parameter.high / parameter.low)
    if isinstance(parameter, IntParameter) and parameter.log:
        low, high = _log_bounds(parameter)
        return (math.log(value) - low) / (high - low)
    return (round((value - parameter.low) / (parameter.step or 1)) + 0.5) / (parameter.size or 1)


def _log_bounds(parameter: IntParameter) -> tuple[float, float]:
    # Half a unit more at both ends, so that the two outermost numbers get their full share
    return math.log(parameter.low - 0.5), math.log(parameter.high + 0.5)
