"""NSGA-II and NSGA-III: their generations, rebuilt from the trials' attributes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from statistics import mean

import pytest

from hposlurm.search import Observation, suggest
from hposlurm.search.genetic import GeneticSampler
from hposlurm.search.points import identity
from hposlurm.space import CategoricalParameter, FloatParameter, SearchSpace
from hposlurm.space.expressions import parse
from hposlurm.trial import Direction, Objective, Params, TrialState
from tests.search.studies import LOSS, NESTED, SQUARE, distinct, drawn, lessons, number

BOTH = ("nsga2", "nsga3")
TWO = (Objective("a"), Objective("b"))
SIX = SearchSpace(tuple(FloatParameter(name, -10.0, 10.0) for name in "xyzuvw"))


def two_bowls(params: Params) -> tuple[float, float]:
    """Their Pareto set is 1 ≤ x ≤ 3 with all others 0."""
    x, *others = (number(params, name) for name in params)
    distance = sum(y**2 for y in others)
    return (x - 1) ** 2 + distance, (x - 3) ** 2 + distance


def from_the_front(params: Params) -> float:
    x, *others = (number(params, name) for name in params)
    return sum(y**2 for y in others) + max(0.0, 1 - x, x - 3) ** 2


def played(
    algorithm: str,
    waves: int,
    size: int,
    seed: int = 0,
    space: SearchSpace = SQUARE,
    values: Callable[[Params], tuple[float, ...]] = two_bowls,
    objectives: tuple[Objective, ...] = TWO,
    population_size: int = 8,
) -> list[Observation]:
    """A study whose trials all complete; everything that is kept goes through JSON."""
    history: list[Observation] = []
    for _ in range(waves):
        for s in suggest(space, algorithm, objectives, history, size, seed, 10, population_size):
            params, attrs = json.loads(json.dumps([s.params, s.attrs]))
            history.append(Observation(len(history), params, TrialState.COMPLETE, values(params), attrs))
    return history


def sampler(algorithm: str, history: list[Observation], wave_seed: int = 1, population_size: int = 8) -> GeneticSampler:
    study = GeneticSampler(SQUARE, TWO, algorithm, 0, wave_seed, population_size)
    study.tell(lessons(SQUARE, history))
    return study


def parents(study: GeneticSampler) -> list[Params]:
    return [t.params for t in study._sampler._parents[study._sampler.generation]]


@pytest.mark.parametrize("algorithm", BOTH)
@pytest.mark.parametrize(
    ("size", "generations"), [(8, [8, 8, 8]), (4, [8, 8, 8]), (12, [12, 12]), (5, [10, 10, 5]), (6, [6, 6, 6])]
)
def test_a_generation_ends_with_the_wave_that_comes_nearest_to_the_population(
    algorithm: str, size: int, generations: list[int]
) -> None:
    history = played(algorithm, sum(generations) // size, size)
    counts = Counter(o.attrs["generation"] for o in history)
    assert [counts[g] for g in sorted(counts, key=str)] == generations


@pytest.mark.parametrize("algorithm", BOTH)
def test_trials_that_run_or_failed_complete_no_generation(algorithm: str) -> None:
    history = played(algorithm, 1, 8)
    for state in (TrialState.RUNNING, TrialState.FAIL, TrialState.WAITING):
        last = Observation(7, history[7].params, state, None, history[7].attrs)
        (found,) = suggest(SQUARE, algorithm, TWO, [*history[:7], last], 1, 0, 10, 8)
        assert found.attrs == {"origin": algorithm, "generation": 0}


def test_the_parents_are_the_best_of_all_earlier_trials() -> None:
    history = played("nsga2", 6, 10)
    chosen = parents(sampler("nsga2", history))
    assert len(chosen) == 8
    ranked = sorted(from_the_front(o.params) for o in history)
    assert mean(map(from_the_front, chosen)) < mean(ranked) / 8
    values = [o.values for o in history if o.values]
    front = [(a, b) for a, b in values if not any(x <= a and y <= b and (x, y) != (a, b) for x, y in values)]
    reached = {two_bowls(p) for p in chosen}
    assert reached <= set(front) or reached >= set(front)


@pytest.mark.parametrize("algorithm", BOTH)
def test_the_parents_do_not_depend_on_the_wave(algorithm: str) -> None:
    history = played(algorithm, 4, 10)
    assert parents(sampler(algorithm, history, 1)) == parents(sampler(algorithm, history, 2))
    more = [
        *history,
        Observation(40, {"x": 0.0, "y": 9.0}, TrialState.RUNNING, None, {"origin": algorithm, "generation": 4}),
    ]
    assert parents(sampler(algorithm, more, 3)) == parents(sampler(algorithm, history, 1))


@pytest.mark.parametrize("algorithm", BOTH)
def test_children_have_their_parents_values_but_for_mutations(algorithm: str) -> None:
    study = sampler(algorithm, played(algorithm, 3, 8))
    genes = {v for p in parents(study) for v in p.values()}
    inherited = [sum(v in genes for v in study.ask().values()) for _ in range(100)]
    assert 0.9 < mean(inherited) < 1.3  # of two: each is mutated by one in two chances


@pytest.mark.parametrize("algorithm", BOTH)
@pytest.mark.parametrize("second", list(Direction))
def test_several_objectives_lead_to_their_front(algorithm: str, second: Direction) -> None:
    sign = 1 if second is Direction.MINIMIZE else -1
    objectives = (Objective("a"), Objective("b", second))

    def signed(params: Params) -> tuple[float, float]:
        a, b = two_bowls(params)
        return a, sign * b

    def off(name: str) -> float:
        return mean(
            from_the_front(o.params)
            for seed in range(3)
            for o in played(name, 15, 8, seed, SIX, signed, objectives)[-24:]
        )

    assert off(algorithm) < 0.6 * off("random")


@pytest.mark.parametrize("algorithm", BOTH)
def test_one_objective_is_enough(algorithm: str) -> None:
    def values(params: Params) -> tuple[float]:
        return (from_the_front(params),)

    found, at_random = (played(name, 15, 8, 0, SIX, values, LOSS) for name in (algorithm, "random"))
    assert mean(o.values[0] for o in found[-24:] if o.values) < 0.5 * mean(o.values[0] for o in at_random if o.values)


@pytest.mark.parametrize("algorithm", BOTH)
def test_a_trial_that_was_stopped_early_is_a_parent_only_if_others_are_missing(algorithm: str) -> None:
    points = drawn(SQUARE, 16)
    label = {"origin": algorithm, "generation": 0}
    whole = [Observation(i, p, TrialState.COMPLETE, two_bowls(p), label) for i, p in enumerate(points)]
    mixed = [
        Observation(o.number, o.params, TrialState.PRUNED, (0.0, 0.0), label) if o.number < 8 else o for o in whole
    ]
    assert {identity(p) for p in parents(sampler(algorithm, mixed))} == {identity(p) for p in points[8:]}
    few = parents(sampler(algorithm, mixed, population_size=12))
    assert {identity(p) for p in few} > {identity(p) for p in points[8:]}


@pytest.mark.parametrize("algorithm", BOTH)
def test_trials_from_elsewhere_are_in_the_first_selection(algorithm: str) -> None:
    foreign = [Observation(i, {"x": 2.0, "y": i * 1e-3}, TrialState.COMPLETE, two_bowls({"x": 2.0, "y": i * 1e-3}),
               {"origin": "cmaes", "generation": 7}) for i in range(8)]  # fmt: skip
    study = sampler(algorithm, foreign)
    assert study.attrs == {"generation": 1}
    assert {identity(p) for p in parents(study)} == {identity(o.params) for o in foreign}


@pytest.mark.parametrize("algorithm", BOTH)
def test_no_child_is_a_copy_and_branches_are_inherited_whole(algorithm: str) -> None:
    space = SearchSpace(
        (
            CategoricalParameter("optimizer", ("adamw", "sgd")),
            FloatParameter("beta", 0.0, 1.0, condition=parse('optimizer == "adamw"')),
            FloatParameter("momentum", 0.0, 1.0, condition=parse('optimizer == "sgd"')),
            FloatParameter("lr", 0.0, 1.0),
        )
    )

    def values(params: Params) -> tuple[float]:
        return (2.0,) if params["optimizer"] == "adamw" else (abs(number(params, "momentum") - 0.9),)

    histories = [played(algorithm, 10, 8, seed, space, values, LOSS) for seed in range(3)]
    for history in histories:
        assert distinct([o.params for o in history]) == 80
        assert all(space.contains(o.params) for o in history)
    late = [o.params for history in histories for o in history[-24:]]
    momenta = [number(p, "momentum") for p in late if p["optimizer"] == "sgd"]
    assert len(momenta) > len(late) * 0.6
    # of those, half have a value that was not drawn again
    old = {number(o.params, "momentum") for h in histories for o in h[:-24] if "momentum" in o.params}
    assert sum(m in old for m in momenta) > 0.3 * len(momenta)


@pytest.mark.parametrize("algorithm", BOTH)
def test_constraints_and_conditions_hold(algorithm: str) -> None:
    history = played(algorithm, 6, 8, space=NESTED, values=lambda p: (number(p, "lr"), -number(p, "lr")))
    points = [o.params for o in history]
    assert distinct(points) == 48 and all(NESTED.contains(p) and NESTED.is_feasible(p) for p in points)


@pytest.mark.parametrize("algorithm", BOTH)
def test_a_generation_that_was_ended_early_stays_ended(algorithm: str) -> None:
    history = played(algorithm, 2, 6)
    assert [o.attrs["generation"] for o in history] == [0] * 6 + [1] * 6
    lost = [replace(o, state=TrialState.FAIL, values=None) if o.number > 5 else o for o in history]
    (found,) = suggest(SQUARE, algorithm, TWO, lost, 1, 0, 10, 8)
    assert found.attrs["generation"] == 1
