"""Mutation of a configuration: mutable values change a little and stay allowed."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from hposlurm.search.mutation import mutate
from hposlurm.search.points import draw_point
from hposlurm.space import CategoricalParameter, FloatParameter, IntParameter, SearchSpace
from hposlurm.space.expressions import parse
from tests.search.play import LINE

MIXED = SearchSpace(
    (
        FloatParameter("lr", 1e-5, 1e-1, log=True),
        FloatParameter("wd", 0.0, 0.5, step=0.1),
        IntParameter("k", 1, 9),
        CategoricalParameter("kind", ("a", "b", "c")),
        FloatParameter("fixed", 0.0, 1.0),
    ),
    (parse("k * wd <= 1"),),
)
HERE = {"lr": 1e-3, "wd": 0.3, "k": 3, "kind": "b", "fixed": 0.7}


def test_values_move_by_the_factors_or_by_a_step_and_stay_allowed() -> None:
    changed = frozenset({"lr", "wd", "k", "kind"})
    for seed in range(300):
        point = mutate(MIXED, HERE, changed, Random(seed), 0.0, (0.8, 1.2))
        assert MIXED.contains(point) and MIXED.is_feasible(point)
        assert point["lr"] in (pytest.approx(0.8e-3), pytest.approx(1.2e-3))
        assert point["k"] in (2, 4) and point["wd"] in (0.2, 0.4)
        assert point["kind"] in ("a", "c") and point["fixed"] == 0.7


@pytest.mark.parametrize(("factor", "there"), [(0.8, 1), (1.2, 3)])
def test_a_small_number_moves_by_at_least_one_step(factor: float, there: int) -> None:
    space = SearchSpace((IntParameter("k", 1, 9),))
    assert mutate(space, {"k": 2}, frozenset({"k"}), Random(0), 0.0, (factor,)) == {"k": there}


def test_a_value_outside_of_a_changed_space_is_drawn_again() -> None:
    lost = {**HERE, "kind": "gone", "k": 40, "fixed": 7.0}
    point = mutate(MIXED, lost, frozenset({"kind", "k"}), Random(1), 0.0, (0.8, 1.2))
    assert point["kind"] in "abc" and 1 <= point["k"] <= 9  # type: ignore[operator]
    assert (point["lr"], point["fixed"]) == (HERE["lr"], 7.0)


def test_newly_active_parameters_are_drawn_and_inactive_ones_left_out() -> None:
    space = SearchSpace(
        (CategoricalParameter("kind", ("a", "b")), FloatParameter("m", 0, 1, condition=parse("kind == 'b'")))
    )
    there = mutate(space, {"kind": "a"}, frozenset({"kind"}), Random(0), 0.0, (0.8, 1.2))
    assert there["kind"] == "b" and space.contains(there)
    assert mutate(space, there, frozenset({"kind"}), Random(1), 0.0, (0.8, 1.2)) == {"kind": "a"}


def test_if_nothing_else_is_allowed_the_copy_has_its_parents_values() -> None:
    tight = SearchSpace((FloatParameter("x", 0.0, 1.0),), (parse("x == 0.5"),))
    assert mutate(tight, {"x": 0.5}, frozenset({"x"}), Random(0), 0.5, (0.8, 1.2)) == {"x": 0.5}


def test_values_at_the_edge_stay_in_the_range() -> None:
    edge = {**HERE, "lr": 1e-1}
    found = {mutate(MIXED, edge, frozenset({"lr"}), Random(seed), 0.0, (1.2, 0.8))["lr"] for seed in range(20)}
    assert max(float(v) for v in found) <= 1e-1 and len(found) == 1  # of what changes nothing another is tried


def test_the_share_of_new_draws_is_the_probability() -> None:
    points = [mutate(LINE, {"x": 0.5}, frozenset({"x"}), Random(seed), 0.25, (0.8, 1.2)) for seed in range(2000)]
    moved = sum(point["x"] in (0.4, 0.6) for point in points)
    assert moved / len(points) == pytest.approx(0.75, abs=0.03)


numbers = st.floats(0.01, 10.0)
spaces = st.builds(
    lambda low, width, step, k: SearchSpace(
        (
            FloatParameter("lr", low, low + width, log=True),
            FloatParameter("wd", 0.0, width, step=step),
            IntParameter("k", 1, 1 + 3 * k, step=3),
            CategoricalParameter("kind", (None, True, 1, 1.5, "a")),
            FloatParameter("m", 0.0, 1.0, condition=parse("k > 4")),
            FloatParameter("fixed", 0.0, 1.0),
        ),
        (parse("lr + wd <= 15"),),
    ),
    numbers,
    numbers,
    numbers,
    st.integers(0, 5),
)
MUTABLE = frozenset({"lr", "wd", "k", "kind", "m"})


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(
    space=spaces,
    seed=st.integers(0, 2**31),
    resample=st.floats(0, 1),
    factors=st.lists(st.floats(0.01, 100.0), min_size=1, max_size=4),
    mutable=st.frozensets(st.sampled_from(sorted(MUTABLE))),
)
def test_a_copy_is_in_the_space_and_differs_only_in_mutable_parameters(
    space: SearchSpace, seed: int, resample: float, factors: list[float], mutable: frozenset[str]
) -> None:
    draws = (draw_point(space, Random(seed + i)) for i in range(100))
    start = next((point for point in draws if space.is_feasible(point)), None)
    assume(start is not None)
    assert start is not None
    point = mutate(space, start, mutable, Random(seed), resample, factors)
    assert space.contains(point) and space.is_feasible(point)
    both = start.keys() & point.keys()
    assert all(point[name] == start[name] for name in both - mutable)
    assert mutable or point == start
    assert mutate(space, start, mutable, Random(seed), resample, factors) == point
