from __future__ import annotations

import dataclasses

import pytest

from hposlurm.search import Observation, grid, suggest
from hposlurm.search.grid import grid_order
from hposlurm.space import CategoricalParameter, FloatParameter, IntParameter, SearchSpace, SpaceError
from hposlurm.space.expressions import parse
from hposlurm.trial import Params, TrialState
from tests.search.studies import LOSS, TINY_GRID, distinct, params_of


def in_waves(space: SearchSpace, sizes: list[int], seed: int) -> list[Params]:
    history: list[Observation] = []
    for size in sizes:
        for s in suggest(space, "grid", LOSS, history, size, seed, 10):
            history.append(Observation(len(history), s.params, TrialState.WAITING))
    return [o.params for o in history]


@pytest.mark.parametrize("sizes", [[12], [4, 4, 4], [1] * 12, [5, 7], [100]])
def test_the_order_is_the_same_however_the_waves_are_cut(sizes: list[int]) -> None:
    assert in_waves(TINY_GRID, sizes, seed=7) == grid_order(TINY_GRID, 7)


def test_the_grid_has_every_combination_once() -> None:
    order = grid_order(TINY_GRID, 3)
    assert len(order) == distinct(order) == 12
    assert sorted(map(str, order)) == sorted(map(str, TINY_GRID.grid_points()))


def test_the_seed_shuffles() -> None:
    assert grid_order(TINY_GRID, 1) != grid_order(TINY_GRID, 2)
    assert grid_order(TINY_GRID, 1) != list(TINY_GRID.grid_points())


def test_an_exhausted_grid_gives_nothing_more() -> None:
    history = [Observation(i, p, TrialState.FAIL) for i, p in enumerate(grid_order(TINY_GRID, 0))]
    assert suggest(TINY_GRID, "grid", LOSS, history, 4, 0, 10) == ()
    assert len(suggest(TINY_GRID, "grid", LOSS, history[:-2], 4, 0, 10)) == 2


def test_a_trial_that_ran_elsewhere_is_not_repeated() -> None:
    params = {"lr": 1e-5, "bs": 2.0, "wd": 0}  # as another program might have written them
    found = suggest(TINY_GRID, "grid", LOSS, [Observation(0, params, TrialState.COMPLETE, (1.0,))], 12, 0, 10)
    assert len(found) == 11
    assert {"lr": 1e-5, "bs": 2, "wd": 0.0} not in params_of(found)


def with_defaults(**defaults: object) -> SearchSpace:
    parameters = (
        dataclasses.replace(p, default=defaults[p.name]) if p.name in defaults else p for p in TINY_GRID.parameters
    )
    return SearchSpace(tuple(parameters), TINY_GRID.constraints)


@pytest.mark.parametrize("seed", range(5))
def test_the_defaults_come_first_and_the_rest_keeps_its_order(seed: int) -> None:
    order = grid_order(with_defaults(lr=5e-6, bs=2, wd=0.01), seed)
    first = {"lr": 5e-6, "bs": 2, "wd": 0.01}
    assert order[0] == first
    assert order[1:] == [p for p in grid_order(TINY_GRID, seed) if p != first]


@pytest.mark.parametrize("seed", range(5))
def test_some_defaults_are_matched_by_the_first_point(seed: int) -> None:
    first = grid_order(with_defaults(bs=2, wd=0.01), seed)[0]
    assert (first["bs"], first["wd"]) == (2, 0.01)


def test_defaults_that_a_constraint_forbids_do_not_change_the_order() -> None:
    space = dataclasses.replace(with_defaults(bs=2), constraints=(parse("bs == 1"),))
    plain = dataclasses.replace(TINY_GRID, constraints=space.constraints)
    assert grid_order(space, 4) == grid_order(plain, 4)
    assert len(grid_order(space, 4)) == 6


def test_conditional_parameters_multiply_only_where_they_are_active() -> None:
    space = SearchSpace(
        (
            CategoricalParameter("optimizer", ("adamw", "sgd")),
            FloatParameter("momentum", 0.8, 0.9, step=0.05, condition=parse('optimizer == "sgd"')),
        )
    )
    order = grid_order(space, 0)
    assert len(order) == 4
    assert {p.get("momentum") for p in order} == {None, 0.8, 0.85, 0.9}


def test_a_continuous_parameter_is_named() -> None:
    space = SearchSpace((IntParameter("bs", 1, 2), FloatParameter("lr", 1e-6, 1e-3)))
    with pytest.raises(SpaceError, match=r"parameters\.lr"):
        suggest(space, "grid", LOSS, [], 4, 0, 10)


def test_a_grid_with_too_many_points_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grid, "MAX_GRID_POINTS", 11)
    with pytest.raises(SpaceError, match="more than 11 points"):
        grid_order(TINY_GRID, 0)
