from __future__ import annotations

import math
from random import Random

import numpy as np
import pytest

from hposlurm.search.auto.encoding import Encoder
from hposlurm.search.points import draw_point, identity
from hposlurm.space import CategoricalParameter, FloatParameter, IntParameter, SearchSpace
from hposlurm.space.expressions import parse
from tests.search.studies import NESTED, TINY_GRID

STEPS = SearchSpace(
    (
        FloatParameter("dropout", 0.0, 0.5, step=0.1),
        IntParameter("layers", 2, 11, step=3),
        IntParameter("batch", 1, 64, log=True),
        FloatParameter("lr", 1e-5, 1e-1, log=True),
        FloatParameter("rate", 0.1, 1.7, step=0.4, log=True),
        CategoricalParameter("mixed", (1, True, "1", None, 2.5)),
        IntParameter("fixed", 7, 7),
    )
)


@pytest.mark.parametrize("space", [NESTED, STEPS, TINY_GRID])
def test_a_point_comes_back_from_its_row(space: SearchSpace) -> None:
    encoder, random = Encoder(space), Random(0)
    points = [draw_point(space, random) for _ in range(300)]
    rows, inside = encoder.rows(points)
    assert inside.all()
    for point, row in zip(points, rows, strict=True):
        back = encoder.point(row)
        assert back.keys() == point.keys()
        for name, value in point.items():
            if isinstance(value, float):
                assert back[name] == pytest.approx(value, rel=1e-12)
            else:
                assert type(back[name]) is type(value) and back[name] == value
        np.testing.assert_allclose(encoder.row(back), row, atol=1e-12)


def test_different_points_of_a_discrete_space_have_different_rows() -> None:
    space = SearchSpace(tuple(p for p in STEPS.parameters if p.name != "lr"))
    points = list(space.grid_points())
    rows, _ = Encoder(space).rows(points)
    assert len({row.tobytes() for row in rows}) == len({identity(point) for point in points}) == 6 * 4 * 64 * 5 * 5


@pytest.mark.parametrize("space", [NESTED, STEPS])
def test_any_row_is_snapped_to_that_of_a_point(space: SearchSpace) -> None:
    encoder = Encoder(space)
    rows = encoder.uniform(np.random.default_rng(1), 200)
    points = [encoder.point(row) for row in rows]
    assert all(space.contains(point) for point in points)
    np.testing.assert_allclose(encoder.rows(points)[0], rows, atol=1e-12)
    np.testing.assert_allclose(encoder.snapped(rows), rows, atol=1e-12)


def test_every_value_of_a_number_is_drawn_alike_and_so_are_the_outermost_ones() -> None:
    space = SearchSpace((IntParameter("n", 0, 4), FloatParameter("f", 0.0, 1.0, step=0.25), IntParameter("c", 1, 2)))
    encoder = Encoder(space)
    points = [encoder.point(row) for row in encoder.uniform(np.random.default_rng(2), 5000)]
    for name, values in (("n", 5), ("f", 5), ("c", 2)):
        counts = np.unique([p[name] for p in points], return_counts=True)[1]  # type: ignore[arg-type]
        assert len(counts) == values
        assert counts.min() > 0.9 * 5000 / values and counts.max() < 1.1 * 5000 / values


def test_an_inactive_parameter_has_no_place_and_the_model_sees_the_middle() -> None:
    space = SearchSpace(
        (
            CategoricalParameter("optimizer", ("sgd", "adam")),
            FloatParameter("momentum", 0.0, 1.0, condition=parse('optimizer == "sgd"')),
        )
    )
    encoder = Encoder(space)
    rows, _ = encoder.rows([{"optimizer": "adam"}, {"optimizer": "sgd", "momentum": 0.9}])
    assert math.isnan(rows[0, 1]) and rows[1, 1] == 0.9
    features = encoder.features(rows)
    np.testing.assert_allclose(features, [[0, math.sqrt(0.5), 0.5], [math.sqrt(0.5), 0, 0.9]])
    assert not np.isnan(encoder.snapped(np.array([[0.0, np.nan]]))).any()


def test_choices_are_equally_far_from_one_another() -> None:
    space = SearchSpace((CategoricalParameter("c", ("a", "b", "c")),))
    encoder = Encoder(space)
    features = encoder.features(encoder.rows([{"c": "a"}, {"c": "b"}, {"c": "c"}])[0])
    gaps = np.linalg.norm(features[:, None] - features[None], axis=-1)
    np.testing.assert_allclose(gaps, 1 - np.eye(3))


@pytest.mark.parametrize(
    "params",
    [
        {"x": 3.0, "c": "a"},
        {"x": 0.5},
        {"x": "0.5", "c": "a"},
        {"x": 0.5, "c": "z"},
        {"x": True, "c": "a"},
        {"x": math.nan, "c": "a"},
    ],
)
def test_a_configuration_of_another_space_is_outside(params: dict[str, object]) -> None:
    space = SearchSpace((FloatParameter("x", 0.0, 1.0), CategoricalParameter("c", ("a", "b"))))
    rows, inside = Encoder(space).rows([params, {"x": 1, "c": "b"}, {"x": 0.0, "c": "a"}])  # type: ignore[list-item]
    assert inside.tolist() == [False, True, True]
    assert np.isnan(rows[0]).all() and rows[1].tolist() == [1.0, 1.0]
