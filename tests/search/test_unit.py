"""Parameters as coordinates from 0 to 1."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from random import Random

import pytest

from hposlurm.search.auto.encoding import Encoder
from hposlurm.search.points import draw_point
from hposlurm.search.unit import from_unit, index_of, is_discrete, nth_value, to_unit
from hposlurm.space import CategoricalParameter, FloatParameter, IntParameter, Parameter, SearchSpace

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


@pytest.mark.parametrize("parameter", [p for p in PARAMETERS if is_discrete(p)], ids=lambda p: p.name)
def test_each_discrete_value_has_its_index(parameter: Parameter) -> None:
    values = list(parameter.values())
    assert [nth_value(parameter, i) for i in range(len(values))] == values
    assert [index_of(parameter, value) for value in values] == list(range(len(values)))


def test_the_rows_of_auto_have_the_coordinates_of_the_unit_cube() -> None:
    numbers = [p for p in PARAMETERS if not isinstance(p, CategoricalParameter)]
    encoder = Encoder(SearchSpace(tuple(numbers)))
    point = draw_point(encoder.space, Random(3))
    expected = [to_unit(p, point[p.name]) for p in numbers]
    assert encoder.row(point).tolist() == pytest.approx(expected, abs=1e-15)
    for coordinate in (0.0, 0.3, 1.0):
        assert [axis.value(coordinate) for axis in encoder.axes] == [from_unit(p, coordinate) for p in numbers]
