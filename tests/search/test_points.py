from __future__ import annotations

from random import Random

import pytest

from hposlurm.search.points import canonical, draw_point, given_defaults, identity, project, snap
from hposlurm.space import UNSET, CategoricalParameter, FloatParameter, IntParameter, SearchSpace, signature
from hposlurm.space.expressions import parse
from hposlurm.trial import Params, ParamValue
from tests.search.studies import NESTED

MIXED = CategoricalParameter("c", (True, 1, "1", None, 0.5, False))


@pytest.mark.parametrize("value", MIXED.choices)
def test_a_choice_keeps_its_type(value: ParamValue) -> None:
    snapped = snap(MIXED, value)
    assert type(snapped) is type(value)
    assert snapped == value


def test_an_equal_choice_of_another_type_is_the_parameters_own_object() -> None:
    assert isinstance(snap(CategoricalParameter("c", (1, 2)), 2.0), int)
    assert isinstance(snap(CategoricalParameter("c", (1, 1.0)), 1.0), float)
    assert snap(CategoricalParameter("c", (0, 2)), False) is UNSET


def test_a_float_step_has_the_grids_exact_values() -> None:
    parameter = FloatParameter("dropout", 0.1, 0.7, step=0.1)
    assert snap(parameter, 0.1 + 0.2) == 0.3
    assert snap(parameter, 0.35) is UNSET
    drawn = {draw_point(SearchSpace((parameter,)), Random(i))["dropout"] for i in range(200)}
    assert drawn == {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7}


@pytest.mark.parametrize(
    ("a", "b"),
    [({"x": 1}, {"x": 1.0}), ({"x": 1, "y": "a"}, {"y": "a", "x": 1}), ({"x": True}, {"x": 1}), ({"x": None}, {})],
)
def test_identity_agrees_with_the_signature(a: Params, b: Params) -> None:
    assert (identity(a) == identity(b)) is (signature(a) == signature(b))


def test_projecting_drops_unknown_and_inactive_parameters() -> None:
    params = {"optimizer": "adamw", "lr": 1e-4, "warmup": 10, "momentum": 0.9, "gone": 3}
    assert project(NESTED, params) == {"optimizer": "adamw", "lr": 1e-4, "warmup": 10}


@pytest.mark.parametrize(
    "params",
    [
        {"optimizer": "adamw", "lr": 1e-4},  # warmup is new
        {"optimizer": "adamw", "lr": 1.0, "warmup": 10},  # the range was narrowed
        {"optimizer": "rmsprop", "lr": 1e-4},  # the choice is gone
        {"optimizer": "adamw", "lr": "fast", "warmup": 10},
    ],
)
def test_projecting_refuses_a_point_that_is_outside_of_the_space(params: Params) -> None:
    assert project(NESTED, params) is None


def test_canonical_keeps_parameters_that_the_space_does_not_have() -> None:
    space = SearchSpace((FloatParameter("x", 0.0, 2.0),))
    point = canonical(space, {"x": 1, "gone": 1})
    assert point == {"x": 1.0, "gone": 1}
    assert isinstance(point["x"], float)


def test_drawn_points_have_exactly_the_active_parameters() -> None:
    rng = Random(1)
    points = [draw_point(NESTED, rng) for _ in range(500)]
    assert all(NESTED.contains(p) for p in points)
    assert {name for p in points for name in p} == set(NESTED.names)


def test_fixed_values_are_kept_where_they_are_active() -> None:
    rng = Random(1)
    for _ in range(50):
        point = draw_point(NESTED, rng, {"momentum": 0.9, "lr": 1e-5})
        assert point["lr"] == 1e-5
        assert point.get("momentum", 0.9) == 0.9


def test_log_ranges_are_drawn_evenly_per_decade() -> None:
    space = SearchSpace((FloatParameter("lr", 1e-6, 1e-2, log=True), IntParameter("n", 1, 1000, log=True)))
    rng = Random(3)
    points = [draw_point(space, rng) for _ in range(4000)]
    for decade in range(-6, -2):
        inside = sum(10.0**decade <= float(p["lr"] or 0) < 10.0 ** (decade + 1) for p in points)
        assert 850 < inside < 1150
    counts = [sum(p["n"] == n for p in points) for n in (1, 2, 1000)]
    assert counts[0] > counts[1] > 0  # 1 is as much of the range as 2 to 4, up to rounding
    assert all(isinstance(p["n"], int) for p in points)


def test_a_log_int_reaches_both_ends() -> None:
    space = SearchSpace((IntParameter("n", 1, 4, log=True),))
    rng = Random(0)
    assert {draw_point(space, rng)["n"] for _ in range(200)} == {1, 2, 3, 4}


def test_defaults_are_snapped_and_none_counts_only_for_a_choice() -> None:
    space = SearchSpace(
        (
            FloatParameter("x", 0.0, 2.0, default=1),
            FloatParameter("y", 0.0, 2.0),
            CategoricalParameter("z", (None, 1), default=None),
            CategoricalParameter("w", (None, 1)),
            IntParameter("inactive", 1, 3, default=2, condition=parse("x > 1")),
        )
    )
    defaults = given_defaults(space)
    assert defaults == {"x": 1.0, "z": None, "inactive": 2}
    assert isinstance(defaults["x"], float)
