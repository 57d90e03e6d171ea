"""The search space: activity, constraints, the grid and signatures."""

from __future__ import annotations

import itertools
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hposlurm.space import (
    UNSET,
    CategoricalParameter,
    FloatParameter,
    IntParameter,
    Parameter,
    SearchSpace,
    SpaceError,
    signature,
)
from hposlurm.space.expressions import parse
from hposlurm.trial import ParamValue

OPTIMIZER = CategoricalParameter("optimizer", ("adamw", "sgd"))
MOMENTUM = FloatParameter("momentum", 0.8, 0.9, step=0.1, condition=parse("optimizer == 'sgd'"))
NESTEROV = CategoricalParameter("nesterov", (False, True), condition=parse("momentum > 0.85"))
NESTED = SearchSpace((OPTIMIZER, MOMENTUM, NESTEROV))


def test_float_steps_show_no_artefacts_of_adding() -> None:
    assert list(FloatParameter("x", 0.0, 0.5, step=0.1).values()) == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    assert list(FloatParameter("x", 0.1, 0.35, step=0.1).values()) == [0.1, 0.2, 0.3]
    assert list(FloatParameter("x", 1e-6, 3e-6, step=1e-6).values()) == [1e-6, 2e-6, 3e-6]


@given(low=st.integers(-1000, 1000), count=st.integers(1, 50), step=st.integers(1, 300), digits=st.integers(0, 6))
def test_float_steps_are_the_decimal_numbers_that_a_person_expects(
    low: int, count: int, step: int, digits: int
) -> None:
    unit = 10**digits
    expected = [float(Fraction(low + i * step, unit)) for i in range(count)]
    parameter = FloatParameter("x", expected[0], expected[-1], step=float(Fraction(step, unit)))
    assert list(parameter.values()) == expected
    assert parameter.size == count
    assert all(parameter.contains(value) and parameter.snap(value) == value for value in expected)


def test_snap_finds_the_nearest_value_of_the_range() -> None:
    parameter = FloatParameter("x", 0.0, 0.5, step=0.1)
    assert [parameter.snap(value) for value in (-1, 0.1 + 0.2, 0.26, 9)] == [0.0, 0.3, 0.3, 0.5]
    assert FloatParameter("x", 0.0, 0.5).snap(0.25) == 0.25


def test_a_tiny_step_in_a_huge_range_is_counted_exactly() -> None:
    parameter = FloatParameter("x", 0.0, 1e12, step=1e-20)
    assert parameter.size == 10**32 + 1
    assert parameter.contains(0.1) and parameter.snap(1e12) == 1e12
    assert SearchSpace((parameter,)).cardinality(1000) is None


def test_a_range_of_one_value_is_that_value() -> None:
    assert list(FloatParameter("x", 0.5, 0.5).values()) == [0.5]
    assert list(IntParameter("n", 3, 3).values()) == [3]


@pytest.mark.parametrize(
    ("parameter", "inside", "outside"),
    [
        (FloatParameter("x", 0.0, 1.0), [0, 0.5, 1.0], [-0.1, 1.1, True, "0.5", None]),
        (FloatParameter("x", 0.0, 1.0, step=0.25), [0.25, 1], [0.3, 0.9999]),
        (IntParameter("n", 1, 9, step=4), [1, 5, 9], [2, 10, 5.0, True, "5"]),
        (CategoricalParameter("c", (1, "a", None)), [1, 1.0, "a", None], [True, "1", 0]),
        (CategoricalParameter("c", (True, False)), [True], [1, 0]),
    ],
)
def test_contains_checks_value_and_type(
    parameter: FloatParameter | IntParameter | CategoricalParameter, inside: list[object], outside: list[object]
) -> None:
    assert all(parameter.contains(value) for value in inside)  # type: ignore[arg-type]
    assert not any(parameter.contains(value) for value in outside)  # type: ignore[arg-type]


def test_the_grid_expands_nested_conditionals_in_order() -> None:
    assert list(NESTED.grid_points()) == [
        {"optimizer": "adamw"},
        {"optimizer": "sgd", "momentum": 0.8},
        {"optimizer": "sgd", "momentum": 0.9, "nesterov": False},
        {"optimizer": "sgd", "momentum": 0.9, "nesterov": True},
    ]
    assert NESTED.cardinality(100) == 4


def test_a_parameter_is_inactive_when_one_in_its_condition_is() -> None:
    assert not NESTED.is_active(NESTEROV, {"optimizer": "adamw"})
    assert NESTED.is_active(NESTEROV, {"optimizer": "sgd", "momentum": 0.9})


def test_a_condition_without_a_value_leaves_its_parameter_inactive() -> None:
    n = IntParameter("n", 0, 1)
    space = SearchSpace((n, IntParameter("m", 0, 0, condition=parse("1 / n > 0"))))
    assert list(space.grid_points()) == [{"n": 0}, {"n": 1, "m": 0}]


def test_contains_requires_exactly_the_active_parameters() -> None:
    assert NESTED.contains({"optimizer": "adamw"})
    assert NESTED.contains({"optimizer": "sgd", "momentum": 0.9, "nesterov": True})
    assert not NESTED.contains({"optimizer": "sgd"})
    assert not NESTED.contains({"optimizer": "adamw", "momentum": 0.9})
    assert not NESTED.contains({"optimizer": "adamw", "other": 1})
    assert not NESTED.contains({"optimizer": "sgd", "momentum": 0.7})


def test_constraints_filter_the_grid_and_use_facts() -> None:
    space = SearchSpace(
        (IntParameter("bs", 1, 4), IntParameter("n", 1, 2)),
        (parse("bs * n * 2 <= gpu_memory_gb"), parse("bs != 3")),
        {"gpu_memory_gb": 8},
    )
    assert [tuple(p.values()) for p in space.grid_points()] == [(1, 1), (1, 2), (2, 1), (2, 2), (4, 1)]
    assert space.violations({"bs": 4, "n": 2}) == (8.0, 0.0)
    assert space.violations({"bs": 3, "n": 1}) == (0.0, 1.0)
    assert not space.is_feasible({"bs": 4, "n": 2})


def test_a_constraint_that_names_an_inactive_parameter_holds() -> None:
    space = SearchSpace(NESTED.parameters, (parse("momentum < 0.85"),))
    assert space.violations({"optimizer": "adamw"}) == (0.0,)
    assert list(space.grid_points()) == [{"optimizer": "adamw"}, {"optimizer": "sgd", "momentum": 0.8}]


def test_a_constraint_without_a_value_is_violated() -> None:
    space = SearchSpace((IntParameter("n", 0, 1),), (parse("1 / n > 0"),))
    assert space.violations({"n": 0}) == (1.0,)
    assert list(space.grid_points()) == [{"n": 1}]


def test_a_constraint_only_on_facts_can_make_the_space_empty() -> None:
    space = SearchSpace((IntParameter("n", 0, 1),), (parse("gpus > 2"),), {"gpus": 2})
    assert list(space.grid_points()) == []
    assert space.cardinality(10) == 0


def test_a_grid_refuses_a_continuous_range_and_names_it() -> None:
    space = SearchSpace((IntParameter("n", 0, 1), FloatParameter("lr", 0.0, 1.0)))
    with pytest.raises(SpaceError, match=r"parameters\.lr.*step"):
        space.grid_points()


def test_cardinality_is_none_where_it_is_infinite_or_over_the_limit() -> None:
    assert SearchSpace((FloatParameter("lr", 0.0, 1.0),)).cardinality(10**9) is None
    conditional = FloatParameter("m", 0.0, 1.0, condition=parse("optimizer == 'sgd'"))
    assert SearchSpace((OPTIMIZER, conditional)).cardinality(10) is None
    never = FloatParameter("m", 0.0, 1.0, condition=parse("optimizer == 'lion'"))
    assert SearchSpace((OPTIMIZER, never)).cardinality(10) == 2
    hundred = SearchSpace((IntParameter("a", 1, 10), IntParameter("b", 1, 10)))
    assert hundred.cardinality(100) == 100
    assert hundred.cardinality(99) is None


def test_cardinality_gives_up_where_constraints_refuse_nearly_everything() -> None:
    parameters = tuple(IntParameter(name, 1, 1000) for name in "abcd")
    assert SearchSpace(parameters, (parse("a + b + c + d == 4000"),)).cardinality(10) is None


def test_defaults_are_those_of_active_parameters_only() -> None:
    optimizer = CategoricalParameter("optimizer", ("adamw", "sgd"), default="adamw")
    momentum = FloatParameter("momentum", 0.8, 0.9, default=0.9, condition=parse("optimizer == 'sgd'"))
    scheduler = CategoricalParameter("scheduler", (None, "cosine"), default=None)
    plain = CategoricalParameter("plain", (None, 1), default=UNSET)
    space = SearchSpace(
        (optimizer, momentum, scheduler, plain, IntParameter("n", 1, 2), IntParameter("m", 0, 2, default=0))
    )
    assert space.defaults() == {"optimizer": "adamw", "scheduler": None, "m": 0}


def test_names_must_be_defined_before_they_are_used() -> None:
    with pytest.raises(SpaceError, match="momentum"):
        SearchSpace((OPTIMIZER, NESTEROV, MOMENTUM))
    with pytest.raises(SpaceError, match="bs"):
        SearchSpace((OPTIMIZER,), (parse("bs > 1"),))


def test_a_signature_depends_on_values_only() -> None:
    assert signature({"a": 1, "b": "x"}) == signature({"b": "x", "a": 1.0})
    assert signature({"a": 0.0}) == signature({"a": -0.0})
    assert len(signature({"a": 1})) == 8
    values = (1, 2, 1.5, "1", True, None, "true", 1e300)
    assert len({signature({"a": value}) for value in values}) == len(values)
    assert signature({"a": 1}) != signature({"b": 1})


def test_a_signature_stays_the_same_in_every_version() -> None:
    # stored in every trial.json: a change would make a resumed study repeat its configurations
    assert signature({"lr": 1e-05, "bs": 2, "wd": 0.0, "optimizer": "adamw", "amp": True, "sched": None}) == "c403e647"


@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    bound=st.integers(0, 12),
)
def test_the_grid_is_the_filtered_product(sizes: list[int], bound: int) -> None:
    parameters = tuple(IntParameter(f"p{i}", 0, size - 1) for i, size in enumerate(sizes))
    total = " + ".join(p.name for p in parameters)
    space = SearchSpace(parameters, (parse(f"{total} <= {bound}"),))
    expected = [point for point in itertools.product(*(p.values() for p in parameters)) if sum(point) <= bound]
    points = [tuple(point.values()) for point in space.grid_points()]
    assert points == expected
    assert space.cardinality(10_000) == len(expected)


def test_a_filled_point_has_a_value_for_each_active_parameter() -> None:
    asked = []

    def value_of(parameter: Parameter) -> ParamValue:
        asked.append(parameter.name)
        return next(iter(parameter.values()))

    assert NESTED.filled(value_of) == {"optimizer": "adamw"} and asked == ["optimizer"]
    assert NESTED.filled(lambda p: "sgd" if p is OPTIMIZER else 0.8) == {"optimizer": "sgd", "momentum": 0.8}
