"""Population-based training through the planner, on training that remembers its learning rates."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hposlurm.records.ancestry import legs
from hposlurm.simulation import Cluster, Simulated, simulate
from hposlurm.spec import parse
from hposlurm.trial import TrialState

MEMBERS, STEPS, SEEDS = 12, 80, range(6)
PBT = {"algorithm": "pbt", "population_size": MEMBERS, "perturbation_interval": 5, "max_resource": STEPS}
RATE = {"lr": {"type": "float", "min": 1e-3, "max": 1.9, "log": True, "mutable": True}}
CURVATURES = (1.0, 0.3, 0.05, 0.01)
Rows = Iterator[tuple[int, dict[str, float], float, tuple[float, ...]]]


def descend(
    params: dict[str, Any], from_step: int, to_step: int | None, *, checkpoint: tuple[float, ...] | None = None
) -> Rows:
    """Expected loss of noisy gradient descent on a quadratic: flat directions need large rates, the end small ones."""
    return descended(lambda _: params["lr"], from_step, to_step or STEPS, checkpoint or (1.0,) * len(CURVATURES))


def descended(rate_at: Callable[[int], float], from_step: int, to_step: int, variances: tuple[float, ...]) -> Rows:
    for step in range(from_step, to_step):
        rate = rate_at(step)
        for _ in range(10):
            variances = tuple(
                (1 - rate * h) ** 2 * v + 0.1 * (rate * h) ** 2 for h, v in zip(CURVATURES, variances, strict=True)
            )
        loss = sum(h * v for h, v in zip(CURVATURES, variances, strict=True)) / 2
        yield step + 1, {"loss": loss}, float(step + 1 - from_step), variances


def run(seed: int, search: dict[str, Any], cluster: Cluster | None = None, **sections: Any) -> Simulated:
    study: dict[str, Any] = {
        "name": "population",
        "objectives": [{"name": "loss"}],
        "parameters": RATE,
        "search": {**search, "seed": seed},
        "budget": {},
        "trial": {"command": "true {{ lr }}", "retries": 3},
        "resources": {"gpus_per_node": 1, "time": "10:00:00"},
    }
    return simulate(parse({**study, **sections}, "test"), descend, cluster or Cluster(gpus=MEMBERS))


def best(result: Simulated) -> float:
    assert result.best is not None and result.best.values is not None
    return result.best.values[0]


@pytest.fixture(scope="module")
def populations() -> list[Simulated]:
    return [run(seed, PBT) for seed in SEEDS]


def test_it_beats_random_search_of_the_same_cost(populations: list[Simulated]) -> None:
    """With each seed, and by half in the median."""
    others = [run(seed, {"algorithm": "random"}, budget={"n_trials": MEMBERS}) for seed in SEEDS]
    for ours, theirs in zip(populations, others, strict=True):
        assert ours.trained_s == theirs.trained_s == MEMBERS * STEPS
        assert ours.wall_s == theirs.wall_s
    ratios = [best(theirs) / best(ours) for ours, theirs in zip(populations, others, strict=True)]
    assert min(ratios) > 1
    assert statistics.median(ratios) >= 1.5


def test_it_beats_every_constant_learning_rate(populations: list[Simulated]) -> None:
    ends = [list(descend({"lr": 10 ** (k / 200)}, 0, STEPS))[-1][1]["loss"] for k in range(-600, 56, 4)]
    assert max(map(best, populations)) < min(ends)


def test_the_schedule_of_the_winner_gives_its_result(populations: list[Simulated]) -> None:
    for result in populations:
        assert result.best is not None
        line = legs(result.history, result.best)
        assert [leg.step for leg in line] == sorted({leg.step for leg in line}) and line[0].step == 0

        def rate_at(step: int, line: Any = line) -> float:
            return next(leg.params["lr"] for leg in reversed(line) if leg.step <= step)

        *_, last = descended(rate_at, 0, STEPS, (1.0,) * len(CURVATURES))
        assert last[1]["loss"] == pytest.approx(best(result), rel=1e-12)


def test_faults_of_the_cluster_change_when_but_not_what_is_decided(populations: list[Simulated]) -> None:
    """Nodes fail, jobs are preempted: trials continue from checkpoints, and every decision is the same."""
    shaken = run(0, PBT, Cluster(gpus=MEMBERS, seed=5, node_failures=60, preemptions=60))
    calm = populations[0]
    assert sum(len(trial.attempts) > len(trial.stages) for trial in shaken.history.trials) > 10
    assert shaken.wall_s > calm.wall_s
    assert [(t.params, t.attrs, t.state) for t in shaken.history.trials] == [
        (t.params, t.attrs, t.state) for t in calm.history.trials
    ]
    assert best(shaken) == best(calm)


def test_members_that_crash_come_back_as_copies() -> None:
    result = run(3, PBT, Cluster(gpus=MEMBERS, seed=1, crashes=60), trial={"command": "true {{ lr }}"})
    failed = [trial for trial in result.history.trials if trial.state is TrialState.FAIL]
    assert len(failed) > 5
    replaced = {trial.attrs.get("replaces") for trial in result.history.trials}
    ends = sorted({stage.to_step for trial in result.history.trials for stage in trial.stages})
    for trial in failed:
        assert trial.number in replaced or trial.stages[-1].to_step == ends[-1]
    assert result.best is not None and result.best.reports[-1].step == STEPS
