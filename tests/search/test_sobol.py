"""Sobol's sequence: one for the study, whatever the waves are."""

from __future__ import annotations

from itertools import islice, product

import numpy as np
import pytest
from scipy.stats.qmc import discrepancy

from hposlurm.search import Observation, suggest
from hposlurm.search.sobol import sobol_points
from hposlurm.space import CategoricalParameter, FloatParameter, IntParameter, SearchSpace
from hposlurm.space.expressions import parse
from hposlurm.trial import Params, TrialState
from tests.search.studies import LOSS, NESTED, SQUARE, number

UNIT = SearchSpace(tuple(FloatParameter(name, 0.0, 1.0) for name in "abc"))


def in_waves(space: SearchSpace, sizes: list[int], seed: int = 0) -> list[Observation]:
    history: list[Observation] = []
    for size in sizes:
        for s in suggest(space, "qmc", LOSS, history, size, seed, 10):
            history.append(Observation(len(history), s.params, TrialState.WAITING, attrs=s.attrs))
    return history


@pytest.mark.parametrize("sizes", [[70], [1] * 70, [5, 64, 1], [33, 37]])
def test_waves_are_pieces_of_one_sequence(sizes: list[int]) -> None:
    whole = [point for _, point in islice(sobol_points(UNIT, 3, 0), 70)]
    assert [o.params for o in in_waves(UNIT, sizes, seed=3)] == whole


def test_seeds_scramble_it() -> None:
    first, second = (in_waves(UNIT, [8], seed) for seed in (0, 1))
    assert not {str(o.params) for o in first} & {str(o.params) for o in second}


def test_it_fills_the_space_more_evenly_than_random_points() -> None:
    def unevenness(points: list[Params]) -> float:
        return float(discrepancy(np.array([[number(p, name) for name in "abc"] for p in points])))

    sobol = unevenness([o.params for o in in_waves(UNIT, [64])])
    at_random = [unevenness([s.params for s in suggest(UNIT, "random", LOSS, [], 64, seed, 1)]) for seed in range(5)]
    assert sobol < min(at_random) / 2


def test_every_combination_of_choices_comes_equally_often() -> None:
    space = SearchSpace(
        (CategoricalParameter("a", (1, 2)), CategoricalParameter("b", ("x", "y")), FloatParameter("c", 0.0, 1.0))
    )
    points = [o.params for o in in_waves(space, [64])]
    for a, b in product((1, 2), "xy"):
        assert sum(p["a"] == a and p["b"] == b for p in points) == 16


def test_points_that_are_not_allowed_or_not_new_are_skipped() -> None:
    space = SearchSpace(SQUARE.parameters, (parse("x <= y"),))
    whole = [(i, p) for i, p in islice(sobol_points(space, 0, 0), 60) if space.is_feasible(p)]
    taken = Observation(0, whole[1][1], TrialState.FAIL)  # a trial from elsewhere: it has no place in the sequence
    found = suggest(space, "qmc", LOSS, [taken], 10, 0, 10)
    assert [(s.attrs["sobol"], s.params) for s in found] == [whole[0], *whole[2:11]]


def test_branches_share_the_sequence() -> None:
    history = in_waves(NESTED, [16, 16])
    assert all(NESTED.contains(o.params) and NESTED.is_feasible(o.params) for o in history)
    indices = [o.attrs["sobol"] for o in history]
    assert indices == sorted(indices, key=int) and len(set(indices)) == 32  # type: ignore[call-overload]


def test_the_last_points_of_a_large_grid_come_at_random() -> None:
    """In the sequence they would come after thousands of old ones."""
    space = SearchSpace((IntParameter("a", 1, 60), IntParameter("b", 1, 60)))
    points = list(space.grid_points())
    seen = [Observation(i, p, TrialState.COMPLETE, (0.0,)) for i, p in enumerate(points[:-3])]
    found = suggest(space, "qmc", LOSS, seen, 5, 0, 10)
    assert sorted(str(s.params) for s in found) == sorted(map(str, points[-3:]))
