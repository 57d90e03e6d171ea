"""What is forecast of the training, compared with studies that are simulated to their end."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from hposlurm.search import SearchProblem
from hposlurm.search.estimate import Training, training
from hposlurm.simulation import Cluster, simulate
from tests.simulation.studies import STEPS, study, train

N = 24


def forecast(algorithm: str, seed: int) -> tuple[Any, Training]:
    spec = study(N, search={"algorithm": algorithm, "max_resource": STEPS, "seed": seed})
    found = training(SearchProblem(spec.space, spec.search, spec.objectives, N), N, 4)
    assert found is not None
    return spec, found


def trained(spec: Any, function: Any) -> int:
    """Returns the steps that the simulated study trained."""
    found = simulate(spec, function, Cluster(gpus=4))
    return sum(trial.reports[-1].step for trial in found.history.trials)


def noise(params: dict[str, Any], from_step: int, to_step: int | None) -> Iterator[tuple[int, dict[str, float], float]]:
    """Losses without any order from step to step."""
    for step in range(from_step + 1, (to_step or STEPS) + 1):
        yield step, {"loss": Random(f"{params} {step}").random()}, (step - from_step) * (1 + params["y"])


@pytest.mark.parametrize("function", [train, noise], ids=["smooth", "noise"])
@pytest.mark.parametrize("algorithm", ["asha", "asha_stopping", "auto", "hyperband", "successive_halving", "median"])
def test_what_is_trained_lies_within_what_was_forecast(algorithm: str, function: Any) -> None:
    for seed in range(4):
        spec, found = forecast(algorithm, seed)
        steps = trained(spec, function)
        fewest = 0 if found.surety == "at most" else found.steps
        assert fewest <= steps <= (found.most_steps or found.steps), (seed, found)


def test_trials_in_no_order_are_trained_about_as_far_as_was_forecast() -> None:
    studies = [forecast("asha_stopping", seed) for seed in range(12)]
    mean = sum(trained(spec, train) for spec, _ in studies) / len(studies)
    likely = studies[0][1].likely_steps
    assert likely is not None and 0.8 * likely < mean < 1.25 * likely


@pytest.mark.parametrize(
    ("sign", "end"), [(1, "steps"), (-1, "most_steps")], ids=["worse and worse", "better and better"]
)
def test_the_ends_of_the_range_are_reached(sign: int, end: str) -> None:
    spec, found = forecast("asha_stopping", 0)
    order: dict[float, int] = {}

    def ordered(params: dict[str, Any], from_step: int, to_step: int | None) -> Iterator[tuple[int, dict, float]]:
        place = order.setdefault(params["x"], len(order))
        for step in range(from_step + 1, (to_step or STEPS) + 1):
            yield step, {"loss": float(sign * place)}, 1.0

    result = simulate(spec, ordered, Cluster(gpus=1))
    assert sum(trial.reports[-1].step for trial in result.history.trials) == getattr(found, end)
