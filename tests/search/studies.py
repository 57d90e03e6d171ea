"""Spaces, and studies played through in memory, for the tests of the search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import TYPE_CHECKING

from hposlurm.search import Observation, Proposal, suggest
from hposlurm.search.known import KnownPoint, KnownPoints
from hposlurm.search.points import Point, draw_point, identity
from hposlurm.space import CategoricalParameter, FloatParameter, IntParameter, SearchSpace
from hposlurm.space.expressions import parse
from hposlurm.trial import Direction, Objective, Params, TrialState

if TYPE_CHECKING:
    from hposlurm.search.tpe import TpeSampler

LOSS = (Objective("loss"),)
ALGORITHMS = ("grid", "random", "qmc", "tpe", "nsga2", "nsga3")  # for choices only; cmaes needs numbers, gp torch
ADAPTIVE = ("random", "qmc", "tpe", "cmaes", "nsga2", "nsga3")  # for every space with a number

SQUARE = SearchSpace((FloatParameter("x", -10.0, 10.0), FloatParameter("y", -10.0, 10.0)))
TINY_GRID = SearchSpace(
    (
        CategoricalParameter("lr", (1e-5, 2e-4, 5e-6)),
        CategoricalParameter("bs", (1, 2)),
        CategoricalParameter("wd", (0.0, 0.01)),
    )
)
NESTED = SearchSpace(
    (
        CategoricalParameter("optimizer", ("adamw", "sgd", "lion")),
        FloatParameter("lr", 1e-6, 1e-3, log=True),
        FloatParameter("momentum", 0.8, 0.99, condition=parse('optimizer == "sgd"')),
        CategoricalParameter("nesterov", (True, False), condition=parse("momentum > 0.85")),
        IntParameter("damping", 1, 9, step=2, condition=parse("not nesterov")),
        IntParameter("warmup", 1, 1000, log=True, condition=parse('optimizer in ["adamw", "lion"]')),
    ),
    constraints=(parse("lr * 1e4 <= momentum * 5"),),
)
# A hundredth of the square: where most of what TPE would like is not allowed
NARROW = SearchSpace(
    (FloatParameter("x", 0.0, 1.0), FloatParameter("y", 0.0, 1.0)),
    constraints=(parse("(x - 0.7) ** 2 + (y - 0.3) ** 2 <= 0.0032"),),
)


def observed(
    params: Sequence[Params], value: Callable[[Params], float], state: TrialState = TrialState.COMPLETE
) -> list[Observation]:
    """One observation per point, numbered from 0, with its value where the state has one."""
    has_value = state is TrialState.COMPLETE
    return [Observation(i, p, state, (value(p),) if has_value else None) for i, p in enumerate(params)]


def play(
    space: SearchSpace,
    algorithm: str,
    value: Callable[[Params], float],
    waves: int,
    size: int,
    seed: int = 0,
    startup_trials: int = 8,
    direction: Direction = Direction.MINIMIZE,
) -> list[Observation]:
    """A study of `waves` waves whose trials all complete; ends early where the space is exhausted."""
    history: list[Observation] = []
    for _ in range(waves):
        found = suggest(space, algorithm, [Objective("loss", direction)], history, size, seed, startup_trials)
        for suggestion in found:
            history.append(
                Observation(len(history), suggestion.params, TrialState.COMPLETE, (value(suggestion.params),))
            )
        if len(found) < size:
            break
    return history


def distinct(points: Sequence[Params]) -> int:
    return len({identity(p) for p in points})


def params_of(suggestions: Sequence[Proposal]) -> list[dict[str, object]]:
    return [dict(s.params) for s in suggestions]


def number(params: Params, name: str) -> float:
    return float(params[name] or 0)


def bowl(params: Params) -> float:
    """The squared distance from (3, -4)."""
    return (number(params, "x") - 3) ** 2 + (number(params, "y") + 4) ** 2


def drawn(space: SearchSpace, n: int, seed: int = 0) -> list[Params]:
    rng = Random(seed)
    return [draw_point(space, rng) for _ in range(n)]


def lessons(space: SearchSpace, history: list[Observation]) -> list[tuple[Observation, KnownPoint]]:
    """Returns a history as samplers learn it."""
    points = KnownPoints(space)
    return [(o, points.of(o.params)) for o in history]


def asked_in_turn(study: TpeSampler, n: int) -> list[Point]:
    """Returns the answers of `study` if the allowed points run and all others are refused."""
    asked = []
    for _ in range(n):
        point = study.ask()
        (study.refuse if any(v > 0 for v in study._points.of(point).violations) else study.expect)(point)
        asked.append(point)
    return asked


def ask_tpe(history: list[Observation], n: int = 8, seed: int = 1, space: SearchSpace = SQUARE) -> tuple[Proposal, ...]:
    return suggest(space, "tpe", LOSS, history, n, seed, 10)
