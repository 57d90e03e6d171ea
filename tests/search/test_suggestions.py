from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hposlurm.errors import RequestError
from hposlurm.search import Observation, suggest
from hposlurm.space import CategoricalParameter, FloatParameter, IntParameter, Parameter, SearchSpace
from hposlurm.space.expressions import parse
from hposlurm.trial import TrialState
from tests.search.studies import (
    ADAPTIVE,
    ALGORITHMS,
    LOSS,
    NARROW,
    NESTED,
    SQUARE,
    TINY_GRID,
    distinct,
    observed,
    params_of,
    play,
)

SUGGEST_EVERYTHING = """
from tests.search.studies import *
from tests.search.test_suggestions import everything
print(everything())
"""


def everything() -> str:
    """Returns all suggestions for a fixed history with conditional groups, constraints and running trials."""
    answers: list[object] = []
    for space in (NESTED, TINY_GRID, NARROW):
        points = [s.params for s in suggest(space, "random", LOSS, [], 12, 5, 4)]
        history = observed(points[:9], lambda p: sum(len(str(v)) for v in p.values()))
        history += [Observation(9 + i, p, TrialState.RUNNING) for i, p in enumerate(points[9:])]
        algorithms = ALGORITHMS if space is TINY_GRID else ADAPTIVE
        answers += [suggest(space, algorithm, LOSS, history, 5, 5, 4, 6) for algorithm in algorithms]
    return repr(answers)


@pytest.mark.parametrize("salt", ["1", "4242"])
def test_another_process_suggests_the_same(salt: str) -> None:
    env = {**os.environ, "PYTHONHASHSEED": salt, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    answer = subprocess.run(
        [sys.executable, "-c", SUGGEST_EVERYTHING], env=env, capture_output=True, text=True, timeout=120, check=True
    )
    assert answer.stdout.strip() == everything()


def test_earlier_calls_do_not_matter() -> None:
    first = everything()
    suggest(SQUARE, "tpe", LOSS, [], 7, 1, 0)
    assert everything() == first


@pytest.mark.parametrize("algorithm", ADAPTIVE)
def test_waves_and_seeds_differ(algorithm: str) -> None:
    history = play(SQUARE, algorithm, lambda p: float(p["x"] or 0), waves=3, size=4, seed=3, startup_trials=100)
    assert distinct([o.params for o in history]) == 12
    other = suggest(SQUARE, algorithm, LOSS, [], 4, 4, 100)
    assert params_of(other) != [o.params for o in history[:4]]


@pytest.mark.parametrize("algorithm", ADAPTIVE)
def test_a_first_wave_has_as_many_different_points_as_asked(algorithm: str) -> None:
    found = suggest(SQUARE, algorithm, LOSS, [], 25, 0, 10)
    assert distinct(params_of(found)) == 25


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("n", [0, -1])
def test_no_points_are_suggested_if_none_are_asked_for(algorithm: str, n: int) -> None:
    assert suggest(TINY_GRID, algorithm, LOSS, [], n, 0, 10) == ()


def test_an_unknown_algorithm_is_named() -> None:
    with pytest.raises(RequestError, match="'tbe' is not one of grid, random, qmc, tpe, cmaes, gp, nsga2, nsga3"):
        suggest(SQUARE, "tbe", LOSS, [], 1, 0, 10)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_origin_is_kept_with_the_suggestion(algorithm: str) -> None:
    history = play(TINY_GRID, algorithm, lambda p: float(p["wd"] or 0), waves=1, size=4, startup_trials=4)
    (found,) = suggest(TINY_GRID, algorithm, LOSS, history, 1, 0, 4)
    assert found.attrs["origin"] == algorithm
    assert json.loads(json.dumps(found.attrs)) == found.attrs


# Exhaustion and duplicates


def small_parameters() -> st.SearchStrategy[list[Parameter]]:
    integer = st.tuples(st.integers(1, 4), st.integers(0, 3), st.booleans()).map(
        lambda t: IntParameter("", t[0], t[0] + t[1], log=t[2])
    )
    stepped = st.integers(0, 3).map(lambda k: FloatParameter("", 0.1, 0.1 + k * 0.1 + 0.05, step=0.1))
    choice = st.lists(st.sampled_from((True, "a", None, 2, 0.5, "1", 1)), min_size=1, max_size=3, unique_by=repr).map(
        lambda c: CategoricalParameter("", tuple(c))
    )
    return st.lists(st.one_of(integer, stepped, choice), min_size=1, max_size=3)


@st.composite
def small_spaces(draw: st.DrawFn) -> SearchSpace:
    parameters = [dataclasses.replace(p, name=f"p{i}") for i, p in enumerate(draw(small_parameters()))]
    condition = parse("p0 == 2 or p0 == 'a' or p0 > 2") if draw(st.booleans()) else None
    if len(parameters) > 1:
        parameters[-1] = dataclasses.replace(parameters[-1], condition=condition)
    numeric = all(isinstance(p, IntParameter) for p in parameters)
    constraint = (parse(" + ".join(p.name for p in parameters) + " <= 6"),) if numeric else ()
    return SearchSpace(tuple(parameters), constraint)


@pytest.mark.parametrize("algorithm", ["grid", "random"])
@given(space=small_spaces(), seed=st.integers(0, 2**31 - 1), size=st.integers(1, 9))
@settings(max_examples=60)
def test_a_small_space_is_used_up_without_a_repetition(
    algorithm: str, space: SearchSpace, seed: int, size: int
) -> None:
    check_used_up(algorithm, space, seed, size)


@given(space=small_spaces(), seed=st.integers(0, 2**31 - 1), size=st.integers(4, 9))
@settings(max_examples=8)
def test_tpe_uses_up_a_small_space_too(space: SearchSpace, seed: int, size: int) -> None:
    check_used_up("tpe", space, seed, size)


def check_used_up(algorithm: str, space: SearchSpace, seed: int, size: int) -> None:
    history = play(space, algorithm, lambda p: float(len(str(p))), 1000, size, seed, startup_trials=3)
    points = [o.params for o in history]
    assert all(space.contains(p) and space.is_feasible(p) for p in points)
    assert len(points) == distinct(points) == space.cardinality(1000)
    assert suggest(space, algorithm, LOSS, history, 1, seed, 3) == ()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("state", list(TrialState))
def test_a_configuration_counts_as_seen_whatever_its_trials_state(algorithm: str, state: TrialState) -> None:
    points = list(TINY_GRID.grid_points())
    found = suggest(TINY_GRID, algorithm, LOSS, observed(points[:10], lambda p: float(p["bs"] or 0), state), 5, 0, 2)
    assert sorted(map(str, params_of(found))) == sorted(map(str, points[10:]))


@pytest.mark.parametrize("algorithm", ADAPTIVE)
def test_few_allowed_points_among_many_are_all_found(algorithm: str) -> None:
    space = SearchSpace((IntParameter("a", 1, 100), IntParameter("b", 1, 100)), (parse("a == b * 5"),))
    history = play(space, algorithm, lambda p: float(p["a"] or 0), waves=10, size=8, startup_trials=16)
    assert sorted(int(o.params["b"] or 0) for o in history) == list(range(1, 21))


@pytest.mark.parametrize("algorithm", ADAPTIVE)
def test_the_search_in_an_infinite_space_without_an_allowed_point_ends(algorithm: str) -> None:
    space = SearchSpace((FloatParameter("x", 0.0, 1.0),), (parse("x > 2"),))
    assert suggest(space, algorithm, LOSS, [], 3, 0, 0) == ()


# Constraints and conditionals


@pytest.mark.parametrize("algorithm", ADAPTIVE)
def test_no_constraint_is_broken_in_a_narrow_region(algorithm: str) -> None:
    history = play(NARROW, algorithm, lambda p: float(p["x"] or 0), waves=5, size=8)
    points = [o.params for o in history]
    assert len(points) == distinct(points) == 40
    assert all(NARROW.is_feasible(p) and NARROW.contains(p) for p in points)


@pytest.mark.parametrize("algorithm", ADAPTIVE)
def test_exactly_the_active_parameters_are_suggested(algorithm: str) -> None:
    history = play(NESTED, algorithm, lambda p: float(p["lr"] or 0), waves=8, size=8)
    assert len(history) == 64
    for observation in history:
        assert NESTED.contains(observation.params)
        assert NESTED.is_feasible(observation.params)
    used = {name for o in history for name in o.params}
    assert used == set(NESTED.names)


@pytest.mark.parametrize("algorithm", ADAPTIVE)
def test_values_have_their_parameters_type(algorithm: str) -> None:
    space = SearchSpace(
        (
            FloatParameter("dropout", 0.1, 0.7, step=0.1),
            FloatParameter("lr", 1e-6, 1e-3, log=True),
            IntParameter("n", 1, 1000, log=True),
            IntParameter("k", 2, 11, step=3),
            CategoricalParameter("c", (True, 1, "1", None, 0.5)),
            FloatParameter("fixed", 2.0, 2.0),
        )
    )
    history = play(space, algorithm, lambda p: float(p["lr"] or 0), waves=5, size=8)
    choices = {repr(o.params["c"]) for o in history}
    assert choices <= {"True", "1", "'1'", "None", "0.5"} and len(choices) >= 4
    for params in (o.params for o in history):
        assert params["dropout"] in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
        assert type(params["lr"]) is float and 1e-6 <= params["lr"] <= 1e-3
        assert type(params["n"]) is int and 1 <= params["n"] <= 1000
        assert type(params["k"]) is int and params["k"] in (2, 5, 8, 11)
        assert repr(params["fixed"]) == "2.0"


# Defaults


def with_defaults() -> SearchSpace:
    return SearchSpace(
        (
            CategoricalParameter("optimizer", ("adamw", "sgd"), default="sgd"),
            FloatParameter("lr", 1e-6, 1e-3, log=True, default=1e-5),
            FloatParameter("momentum", 0.8, 0.99, default=0.9, condition=parse('optimizer == "sgd"')),
            IntParameter("warmup", 0, 500, default=100, condition=parse('optimizer == "adamw"')),
            FloatParameter("wd", 0.0, 0.1),
        ),
        (parse("wd < 0.01"),),
    )


@pytest.mark.parametrize("algorithm", ADAPTIVE)
@pytest.mark.parametrize("startup", [0, 10])
def test_the_first_suggestion_has_the_defaults_and_draws_the_rest(algorithm: str, startup: int) -> None:
    first, second = suggest(with_defaults(), algorithm, LOSS, [], 2, 1, startup)
    rest = dict(first.params)
    assert 0 <= float(rest.pop("wd") or 0) < 0.01
    assert rest == {"optimizer": "sgd", "lr": 1e-5, "momentum": 0.9}
    assert first.attrs == {"origin": "default"}
    assert second.attrs != {"origin": "default"}


@pytest.mark.parametrize("algorithm", ADAPTIVE)
def test_only_the_first_wave_begins_with_the_defaults(algorithm: str) -> None:
    space = SearchSpace((FloatParameter("x", 0.0, 1.0, default=0.5),))
    history = [Observation(0, {"x": 0.25}, TrialState.WAITING)]
    assert {"x": 0.5} not in params_of(suggest(space, algorithm, LOSS, history, 5, 0, 10))


def test_defaults_that_a_constraint_forbids_are_left_out() -> None:
    space = dataclasses.replace(with_defaults(), constraints=(parse("lr > 1e-4"),))
    found = suggest(space, "random", LOSS, [], 3, 0, 10)
    assert [s.attrs["origin"] for s in found] == ["random"] * 3


def test_without_a_default_nothing_is_called_one() -> None:
    assert suggest(SQUARE, "random", LOSS, [], 1, 0, 10)[0].attrs == {"origin": "random"}


# Cost of an import


def test_a_search_imports_no_more_than_it_uses() -> None:
    code = (
        "import sys; from tests.search.studies import *\n"
        "for a in ('grid', 'random', 'tpe'): suggest(TINY_GRID, a, LOSS, [], 3, 0, 5)\n"
        "assert not {'optuna', 'numpy', 'scipy', 'cmaes'} & set(sys.modules)\n"
        "suggest(TINY_GRID, 'tpe', LOSS, [], 3, 0, 0)\n"
        "assert 'optuna' in sys.modules and not {'torch', 'scipy', 'cmaes'} & set(sys.modules)"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
