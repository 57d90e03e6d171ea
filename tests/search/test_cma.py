"""CMA-ES: its state is rebuilt from the history; parameters that are not plain numbers."""

from __future__ import annotations

import json
from dataclasses import replace
from statistics import mean

import cmaes
import numpy as np
import pytest

from hposlurm.errors import RequestError
from hposlurm.search import Observation, suggest
from hposlurm.search.cma import SIGMA, CmaSampler
from hposlurm.space import CategoricalParameter, FloatParameter, IntParameter, SearchSpace
from hposlurm.space.expressions import parse
from hposlurm.trial import Direction, Objective, Params, TrialState
from tests.search.studies import LOSS, NESTED, SQUARE, TINY_GRID, bowl, distinct, lessons, number

FOUR = SearchSpace(tuple(FloatParameter(f"x{i}", 0.0, 1.0) for i in range(4)))


def sphere(params: Params) -> float:
    return sum((number(params, f"x{i}") - 0.3) ** 2 for i in range(4))


def played(
    space: SearchSpace,
    value: object,
    waves: int,
    size: int,
    seed: int = 0,
    population_size: int | None = None,
    objective: Objective = LOSS[0],
) -> list[Observation]:
    """A study whose trials all complete; everything that is kept goes through JSON."""
    history: list[Observation] = []
    for _ in range(waves):
        for s in suggest(space, "cmaes", [objective], history, size, seed, 10, population_size):
            params, attrs = json.loads(json.dumps([s.params, s.attrs]))
            history.append(Observation(len(history), params, TrialState.COMPLETE, (value(params),), attrs))  # type: ignore[operator]
    return history


def state(space: SearchSpace, history: list[Observation], population_size: int | None = None) -> tuple[object, ...]:
    study = CmaSampler(space, LOSS, 0, population_size, 1)
    study.tell(lessons(space, history))
    assert study._cma is not None
    return study._cma.generation, study._cma.mean.tolist(), study._cma._sigma, study._cma._C.tolist()


def test_the_state_equals_that_of_an_optimiser_that_ran_the_whole_time() -> None:
    history = played(FOUR, sphere, waves=6, size=8)
    original = cmaes.CMA(mean=np.full(4, 0.5), sigma=SIGMA, bounds=np.array([[0.0, 1.0]] * 4), population_size=8)
    for wave in range(6):
        members = history[8 * wave : 8 * wave + 8]
        ranked = sorted(members, key=lambda o: o.values or ())
        original.tell([(np.array([o.params[f"x{i}"] for i in range(4)]), rank) for rank, o in enumerate(ranked)])
    generation, centre, sigma, covariance = state(FOUR, history)
    assert generation == 6
    assert centre == pytest.approx(original.mean.tolist()) and sigma == pytest.approx(original._sigma)
    assert np.array(covariance) == pytest.approx(original._C)


def test_it_beats_random_search_by_far() -> None:
    def best(algorithm: str, seed: int) -> float:
        if algorithm == "cmaes":
            return min(sphere(o.params) for o in played(FOUR, sphere, 12, 8, seed))
        return min(sphere(s.params) for s in suggest(FOUR, "random", LOSS, [], 96, seed, 10))

    assert mean(best("cmaes", s) for s in range(5)) < mean(best("random", s) for s in range(5)) / 10


def test_maximising_is_minimising_the_negated_values() -> None:
    down = played(FOUR, sphere, 4, 8)
    up = played(FOUR, lambda p: -sphere(p), 4, 8, objective=Objective("score", Direction.MAXIMIZE))
    assert [o.params for o in down] == [o.params for o in up]


@pytest.mark.parametrize(
    ("size", "population"), [(1, 8), (3, 9), (8, 8), (20, 20)], ids=["one", "three", "eight", "twenty"]
)
def test_the_population_is_a_number_of_whole_waves(size: int, population: int) -> None:
    (first, *_) = suggest(FOUR, "cmaes", LOSS, [], size, 0, 10)
    assert first.attrs == {"origin": "cmaes", "generation": 0, "population": population}


def test_a_later_wave_of_a_different_size_keeps_the_population() -> None:
    history = played(FOUR, sphere, 1, 9)
    (found,) = suggest(FOUR, "cmaes", LOSS, history, 1, 0, 10)
    assert found.attrs == {"origin": "cmaes", "generation": 1, "population": 9}


def test_a_generation_waits_until_as_many_have_ended_as_the_population_has() -> None:
    history = played(FOUR, sphere, waves=2, size=4, population_size=12)
    assert {o.attrs["generation"] for o in history} == {0}
    history = played(FOUR, sphere, waves=4, size=4, population_size=12)
    assert [o.attrs["generation"] for o in history] == [0] * 12 + [1] * 4


def failed(history: list[Observation], which: range) -> list[Observation]:
    return [replace(o, state=TrialState.FAIL, values=None) if o.number in which else o for o in history]


def test_failed_trials_are_the_worst_of_their_generation() -> None:
    history = played(FOUR, sphere, waves=1, size=8)
    by_value = sorted(history, key=lambda o: o.values or (), reverse=True)
    worst = {o.number for o in by_value[:2]}
    changed = [replace(o, state=TrialState.FAIL, values=None) if o.number in worst else o for o in history]
    assert state(FOUR, changed)[:2] == (1, pytest.approx(state(FOUR, history)[1]))
    pruned = [replace(o, state=TrialState.PRUNED, values=(-1.0,)) if o.number in worst else o for o in history]
    assert state(FOUR, pruned)[:2] == (1, pytest.approx(state(FOUR, history)[1]))


def test_a_generation_of_which_most_failed_is_filled_up() -> None:
    history = played(FOUR, sphere, waves=1, size=8)
    assert state(FOUR, failed(history, range(4)))[0] == 1
    assert state(FOUR, failed(history, range(5)))[0] == 0
    running = [replace(o, state=TrialState.RUNNING, values=None) if o.number < 2 else o for o in history]
    assert state(FOUR, running)[0] == 0


def test_trials_from_elsewhere_belong_to_no_generation() -> None:
    history = played(FOUR, sphere, waves=2, size=8)
    foreign = Observation(99, {f"x{i}": 0.9 for i in range(4)}, TrialState.COMPLETE, (-5.0,), {"generation": 0})
    assert state(FOUR, [foreign, *history]) == state(FOUR, history)


def test_it_begins_at_the_defaults() -> None:
    space = SearchSpace((FloatParameter("x", -10.0, 10.0, default=8.0), FloatParameter("y", -10.0, 10.0)))
    points = [s.params for s in suggest(space, "cmaes", LOSS, [], 40, 0, 10)]
    assert points[0]["x"] == 8.0
    assert mean(number(p, "x") for p in points) > 5 and abs(mean(number(p, "y") for p in points)) < 2
    history = [Observation(i, p, TrialState.COMPLETE, (bowl(p),), {"origin": "default" if i == 0 else "cmaes",
               "generation": 0, "population": 40}) for i, p in enumerate(points)]  # fmt: skip
    assert state(space, history)[0] == 1


def test_choices_and_branches_are_drawn_at_random() -> None:
    history = played(NESTED, lambda p: abs(number(p, "lr") - 1e-5) * 1e5, waves=12, size=8)
    points = [o.params for o in history]
    assert distinct(points) == 96 and all(NESTED.contains(p) and NESTED.is_feasible(p) for p in points)
    assert {p["optimizer"] for p in points} == {"adamw", "sgd", "lion"}
    assert mean(number(p, "lr") for p in points[-16:]) < mean(number(p, "lr") for p in points[:16]) / 2


def test_discrete_numbers_are_never_repeated_and_used_up() -> None:
    space = SearchSpace((IntParameter("a", 0, 9), IntParameter("b", 1, 16, log=True)), (parse("a + b <= 20"),))
    history = played(space, lambda p: (number(p, "a") - 4) ** 2 + number(p, "b"), waves=40, size=6)
    points = [o.params for o in history]
    assert len(points) == distinct(points) == space.cardinality(1000)
    early = mean(number(p, "b") for p in points[:40])
    assert early < mean(number(p, "b") for p in points[-40:])  # the neighbours of the best come first


def test_when_the_best_point_is_taken_its_neighbours_come_next() -> None:
    space = SearchSpace((IntParameter("a", 0, 100), IntParameter("b", 0, 100)))
    history = played(space, lambda p: (number(p, "a") - 20) ** 2 + (number(p, "b") - 70) ** 2, waves=25, size=6)
    late = [o.params for o in history[-30:]]
    assert distinct([o.params for o in history]) == len(history)
    assert mean(abs(number(p, "a") - 20) + abs(number(p, "b") - 70) for p in late) < 15


@pytest.mark.parametrize(
    ("space", "objectives", "reason"),
    [
        (SQUARE, [Objective("a"), Objective("b")], "only one objective; with several use tpe"),
        (TINY_GRID, LOSS, "needs numeric parameters"),
        (SearchSpace((CategoricalParameter("c", (1, 2)), IntParameter("one", 3, 3))), LOSS, "needs numeric parameters"),
    ],
)
def test_what_it_cannot_search_is_named(space: SearchSpace, objectives: list[Objective], reason: str) -> None:
    with pytest.raises(RequestError, match=reason):
        suggest(space, "cmaes", objectives, [], 1, 0, 10)
