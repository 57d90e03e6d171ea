"""Estimates of what a study will train, compared with studies that are played to their end."""

from __future__ import annotations

from typing import Any

import pytest

from hposlurm.search.estimate import Training, training
from tests.search.play import Play, problem_of

LEVELS = (1, 3, 9)


def played(n_trials: int, **search: Any) -> list[int]:
    """Returns how many trials reached each rung, wave by wave."""
    play = Play(problem_of(n_trials, max_resource=9, **search))
    play.waves(lambda _: 1000)
    return [sum(bool(o.curve) and o.curve[-1][0] >= level for o in play.observations) for level in LEVELS]


@pytest.mark.parametrize("algorithm", ["successive_halving", "hyperband"])
@pytest.mark.parametrize("n_trials", [1, 4, 9, 27, 50])
def test_brackets_are_counted_exactly(algorithm: str, n_trials: int) -> None:
    found = training(problem_of(n_trials, algorithm=algorithm, max_resource=9), n_trials)
    assert found == Training(LEVELS, tuple(played(n_trials, algorithm=algorithm)), "exactly")


def test_promotion_is_counted_as_if_all_came_at_once() -> None:
    found = training(problem_of(27, algorithm="asha", max_resource=9), 27)
    assert found == Training(LEVELS, (27, 9, 3), "at least", most_steps=27 + 2 * 25 + 6 * 23)
    assert played(27, algorithm="asha") == [27, 9, 3]
    assert found.steps == 27 * 1 + 9 * 2 + 3 * 6
    assert found.trainings == 63 / 9


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ({"algorithm": "random"}, Training((9,), (20,), "exactly")),
        ({"algorithm": "median"}, Training((9,), (20,), "at most")),
        ({"algorithm": "tpe", "patience": 3}, Training((9,), (20,), "at most")),
        ({"algorithm": "asha_stopping"}, Training(LEVELS, (20, 1, 1), "at least", 180, 20 + 2 * 8 + 6 * 4)),
        # six are let through first, and a tenth of the others; the rest is thinned
        ({"algorithm": "auto"}, Training(LEVELS, (20, 11, 8), "at least", 180, decided_by="prediction")),
        ({"algorithm": "pbt", "population_size": 4, "perturbation_interval": 3}, Training((9,), (4,), "exactly")),
    ],
)
def test_others(search: dict[str, Any], expected: Training) -> None:
    assert training(problem_of(20, max_resource=9, **search), 20) == expected


def test_without_an_end_nothing_is_known() -> None:
    assert training(problem_of(20, algorithm="random"), 20) is None


def test_the_most_of_promotions_is_what_a_study_trains_whose_trials_are_each_better_than_all_before() -> None:
    play = Play(
        problem_of(27, algorithm="asha", max_resource=9), lambda params, _: -order.setdefault(params["x"], len(order))
    )
    order: dict[Any, int] = {}
    play.waves(lambda _: 1)
    steps = sum((o.curve[-1][0] if o.curve else 0) for o in play.observations)
    found = training(problem_of(27, algorithm="asha", max_resource=9), 27)
    assert found is not None and steps == found.most_steps
