"""The unit cube: each parameter as a coordinate from 0 to 1, in logarithmic scale where it has one.

Each discrete value has an equal share of its axis, and an index. Random points, Sobol's sequence, CMA-ES, the samplers
of Optuna and `auto` all use these conversions. Standard library only.
"""

from __future__ import annotations

import math

from hposlurm.space import CategoricalParameter, FloatParameter, IntParameter, Parameter, same_value
from hposlurm.trial import ParamValue


def is_discrete(parameter: Parameter) -> bool:
    """True if the parameter's values can be counted; those of a float range without a step cannot."""
    return not isinstance(parameter, FloatParameter) or parameter.step is not None


def index_of(parameter: Parameter, value: ParamValue) -> int:
    """Returns the index of `value`, which must be one of the values of a discrete parameter."""
    if isinstance(parameter, CategoricalParameter):
        return choice_index(parameter, value)
    assert isinstance(value, int | float)
    return round((value - parameter.low) / (parameter.step or 1))


def nth_value(parameter: Parameter, index: int) -> ParamValue:
    """Returns the value of a discrete parameter at `index`."""
    if isinstance(parameter, FloatParameter):
        return parameter.snap(parameter.low + index * (parameter.step or 0.0))
    return parameter.values()[index]


def choice_index(parameter: CategoricalParameter, value: ParamValue) -> int:
    """Returns the index of `value` among the choices, preferring one of the same type: 1.0 is not taken for 1."""
    equal = [i for i, choice in enumerate(parameter.choices) if same_value(choice, value)]
    return next((i for i in equal if type(parameter.choices[i]) is type(value)), equal[0])


def from_unit(parameter: Parameter, coordinate: float) -> ParamValue:
    """Returns the value at `coordinate`; a coordinate below 0 or above 1 counts as the end of the range."""
    coordinate = min(max(coordinate, 0.0), 1.0)
    if isinstance(parameter, FloatParameter) and parameter.step is None:
        if not parameter.log:
            return parameter.snap(parameter.low + coordinate * (parameter.high - parameter.low))
        low, high = math.log(parameter.low), math.log(parameter.high)
        return parameter.snap(math.exp(low + coordinate * (high - low)))
    if isinstance(parameter, IntParameter) and parameter.log:
        low, high = _log_bounds(parameter)
        index = round((math.exp(low + coordinate * (high - low)) - parameter.low) / parameter.step)
        return nth_value(parameter, min(max(index, 0), parameter.size - 1))
    size = parameter.size or 1
    return nth_value(parameter, min(int(coordinate * size), size - 1))


def to_unit(parameter: Parameter, value: ParamValue) -> float:
    """Returns the coordinate of `value`, one of the parameter's values; of a discrete value the middle of its share."""
    if parameter.size == 1:
        return 0.5
    if isinstance(parameter, FloatParameter) and parameter.step is None:
        assert isinstance(value, int | float)
        if not parameter.log:
            return (value - parameter.low) / (parameter.high - parameter.low)
        return math.log(value / parameter.low) / math.log(parameter.high / parameter.low)
    if isinstance(parameter, IntParameter) and parameter.log:
        assert isinstance(value, int | float)
        low, high = _log_bounds(parameter)
        return (math.log(value) - low) / (high - low)
    return (index_of(parameter, value) + 0.5) / (parameter.size or 1)


def _log_bounds(parameter: IntParameter) -> tuple[float, float]:
    # Half a unit more at both ends gives the lowest and the highest number their full share
    return math.log(parameter.low - 0.5), math.log(parameter.high + 0.5)
