"""Several objectives on functions with a known front: how much of it is covered, and that constraints hold."""

from __future__ import annotations

import math
from statistics import mean

import optuna
import pytest

from hposlurm.search import Observation, suggest
from hposlurm.search.optuna_study import quiet
from hposlurm.space import FloatParameter, SearchSpace
from hposlurm.space.expressions import parse
from hposlurm.trial import Objective, Params, TrialState
from tests.search.studies import distinct, number

TWO = (Objective("a"), Objective("b"))
DIMENSIONS = 6
CUBE = SearchSpace(tuple(FloatParameter(f"x{i}", 0.0, 1.0) for i in range(DIMENSIONS)))
# Binh and Korn's problem with its two constraints
BNH = SearchSpace(
    (FloatParameter("x", 0.0, 5.0), FloatParameter("y", 0.0, 3.0)),
    (parse("(x - 5) ** 2 + y ** 2 <= 25"), parse("(x - 8) ** 2 + (y + 3) ** 2 >= 7.7")),
)


def zdt(which: int, x: list[float]) -> tuple[float, float]:
    g = 1 + 9 * sum(x[1:]) / (len(x) - 1)
    ratio = x[0] / g
    waves = ratio * math.sin(10 * math.pi * x[0])
    h = {1: 1 - math.sqrt(ratio), 2: 1 - ratio**2, 3: 1 - math.sqrt(ratio) - waves}[which]
    return x[0], g * h


def bnh(params: Params) -> tuple[float, float]:
    x, y = number(params, "x"), number(params, "y")
    return 4 * x**2 + 4 * y**2, (x - 5) ** 2 + (y - 5) ** 2


def covered(values: list[tuple[float, float]], corner: tuple[float, float]) -> float:
    """Returns the area between the front of `values` and `corner`."""
    area, height = 0.0, corner[1]
    for a, b in sorted(v for v in values if v[0] < corner[0] and v[1] < corner[1]):
        if b < height:
            area, height = area + (corner[0] - a) * (height - b), b
    return area


def ours(algorithm: str, which: int, seed: int, n: int, size: int) -> float:
    history: list[Observation] = []
    while len(history) < n:
        for s in suggest(CUBE, algorithm, TWO, history, size, seed, 10, 25):
            values = zdt(which, [number(s.params, name) for name in CUBE.names])
            history.append(Observation(len(history), s.params, TrialState.COMPLETE, values, s.attrs))
    return covered([zdt(which, [number(o.params, name) for name in CUBE.names]) for o in history[:n]], (1.1, 11.0))


def optunas(which: int, seed: int, n: int) -> float:
    with quiet():
        sampler = optuna.samplers.NSGAIISampler(population_size=25, seed=seed)
        study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
        study.optimize(lambda t: zdt(which, [t.suggest_float(name, 0.0, 1.0) for name in CUBE.names]), n_trials=n)
    return covered([(t.values[0], t.values[1]) for t in study.trials], (1.1, 11.0))


@pytest.mark.parametrize("which", [1, 2, 3])
def test_waves_cover_as_much_as_optuna_does_one_by_one(which: int) -> None:
    seeds = range(4)
    theirs = mean(optunas(which, s, 250) for s in seeds)
    assert mean(ours("nsga2", which, s, 250, 25) for s in seeds) > 0.98 * theirs
    assert mean(ours("random", which, s, 250, 25) for s in seeds) < 0.95 * theirs


@pytest.mark.parametrize("algorithm", ["nsga2", "nsga3", "tpe"])
def test_a_front_with_constraints_is_covered_and_no_constraint_is_broken(algorithm: str) -> None:
    history: list[Observation] = []
    for _ in range(10):
        for s in suggest(BNH, algorithm, TWO, history, 10, 1, 10, 10):
            history.append(Observation(len(history), s.params, TrialState.COMPLETE, bnh(s.params), s.attrs))
    points = [o.params for o in history]
    assert distinct(points) == 100
    for params in points:
        x, y = number(params, "x"), number(params, "y")
        assert (x - 5) ** 2 + y**2 <= 25 and (x - 8) ** 2 + (y + 3) ** 2 >= 7.7
    # The whole front, x = y up to 3 and y = 3 from there on, covers this much of the corner
    front = [bnh({"x": i / 100, "y": min(i / 100, 3.0)}) for i in range(501)]
    assert covered([bnh(p) for p in points], (140.0, 50.0)) > 0.95 * covered(front, (140.0, 50.0))
