"""Parameters as coordinates from 0 to 1."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from hposlurm.search.unit import from_unit, to_unit
from hposlurm.space import CategoricalParameter, FloatParameter, IntParameter, Parameter

PARAMETERS = [
    FloatParameter("x", -1.0, 3.0),
    FloatParameter("lr", 1e-6, 1e-2, log=True),
    FloatParameter("dropout", 0.1, 0.75, step=0.1),
    FloatParameter("fixed", 2.0, 2.0),
    IntParameter("n", -3, 4),
    IntParameter("k", 2, 11, step=3),
    IntParameter("warmup", 1, 1000, log=True),
    CategoricalParameter("c", (True, 1.5, "1", None)),
]


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda p: p.name)
def test_every_value_has_its_coordinate(parameter: Parameter) -> None:
    for value in [from_unit(parameter, i / 50) for i in range(51)]:
        assert parameter.contains(value)
        again = from_unit(parameter, to_unit(parameter, value))
        assert again == (pytest.approx(value, rel=1e-12) if isinstance(value, float) else value)


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda p: p.name)
def test_both_ends_are_reached_and_nothing_lies_beyond(parameter: Parameter) -> None:
    values = list(parameter.values()) if parameter.size is not None else [parameter.low, parameter.high]  # type: ignore[union-attr]
    for coordinate, value in ((-0.5, values[0]), (0.0, values[0]), (1.0, values[-1]), (1.5, values[-1])):
        assert from_unit(parameter, coordinate) == pytest.approx(value)


@pytest.mark.parametrize("parameter", [PARAMETERS[2], *PARAMETERS[4:6], PARAMETERS[7]], ids=lambda p: p.name)
def test_each_discrete_value_has_an_equal_share(parameter: Parameter) -> None:
    n = 1000 * (parameter.size or 1)
    counts = Counter(from_unit(parameter, (i + 0.5) / n) for i in range(n))
    assert set(counts.values()) == {1000}


def test_a_logarithm_is_even_in_orders_of_magnitude() -> None:
    values = [from_unit(PARAMETERS[1], i / 4) for i in range(5)]
    assert [b / a for a, b in pairwise(map(float, values))] == pytest.approx([10.0] * 4)  # type: ignore[arg-type]
