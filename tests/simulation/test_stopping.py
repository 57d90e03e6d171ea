"""Trials that are stopped at a report, in virtual time: how far they get, and that only records decide it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from hposlurm.pruning import DECISION, Curve, PruningDecision, recomputed
from hposlurm.simulation import Cluster, Simulated, simulate
from hposlurm.spec import SearchSpec
from hposlurm.trial import Direction, Objective, TrialState
from tests.simulation.studies import study

LEVELS = (1, 3, 9)


def by_chance(params: dict[str, Any], from_step: int, to_step: int | None) -> Iterator[tuple[int, dict, float]]:
    """Losses without any order from step to step."""
    for step in range(from_step + 1, (to_step or 9) + 1):
        loss = Random(f"{params} {step}").random()
        yield step, {"loss": loss, "gain": -loss}, (step - from_step) * (1 + params["y"])


def run(n_trials: int, pruner: str, objective: str = "loss", **search: Any) -> Simulated:
    keys = {"sampler": "random", "pruner": pruner, "max_resource": 9, "seed": 3, **search}
    goal = Objective(objective, Direction.MAXIMIZE if objective == "gain" else Direction.MINIMIZE)
    spec = study(n_trials).model_copy(update={"search": SearchSpec(**keys), "objectives": (goal,)})
    return simulate(spec, by_chance, Cluster(gpus=8), mode="refill")


def reached(result: Simulated) -> list[int]:
    """Returns how many trials reached each rung."""
    return [sum(t.reports[-1].step >= level for t in result.history.trials) for level in LEVELS]


def test_about_a_third_remains_after_each_rung() -> None:
    result = run(102, "asha_stopping")
    lowest, middle, top = reached(result)
    assert lowest == 102
    assert 30 <= middle <= 45
    assert middle // 4 <= top <= middle // 2
    assert Counter(t.state for t in result.history.trials) == {
        TrialState.COMPLETE: top,
        TrialState.PRUNED: 102 - top,
    }


def test_a_pruned_trial_has_a_reason_and_keeps_its_last_values() -> None:
    for trial in run(30, "asha_stopping").history.trials:
        if trial.state is TrialState.PRUNED:
            assert trial.reason.startswith(f"rung {trial.reports[-1].step}: loss ")
            assert trial.values == (trial.reports[-1].metrics["loss"],)


@pytest.mark.parametrize("pruner", ["asha_stopping", "median"])
def test_to_maximise_is_to_minimise_the_negative(pruner: str) -> None:
    lost, gained = run(60, pruner), run(60, pruner, "gain")
    ends = [[(t.number, t.state, t.reports[-1].step) for t in result.history.trials] for result in (lost, gained)]
    assert ends[0] == ends[1]


@pytest.mark.parametrize(
    ("pruner", "search"),
    [("asha_stopping", {}), ("median", {}), ("percentile", {"sampler": "tpe"}), ("patient", {"patience": 2})],
)
def test_every_decision_follows_from_the_journals(pruner: str, search: dict[str, Any]) -> None:
    result = run(40, pruner, **search)
    assert result.journals is not None
    rule = result.history.plans[0].stop
    assert rule is not None and {plan.stop for plan in result.history.plans if plan.assignments} == {rule}
    curves = {t.number: Curve(rule.objectives) for t in result.history.trials}
    decisions = []
    for (number, _), records in sorted(result.journals.items()):
        for record in records:
            curves[number].take(record)
            if record["kind"] == DECISION:
                decisions.append((number, PruningDecision.from_record(record)))
    assert any(decision.stops for _, decision in decisions)
    assert all(recomputed(rule, decision, curves[number], curves) == decision for number, decision in decisions)


def test_the_same_study_is_stopped_in_the_same_way_again() -> None:
    first, second = (run(40, "asha_stopping", sampler="tpe") for _ in range(2))
    assert first.journals == second.journals


@pytest.mark.parametrize("sampler", ["grid", "qmc", "tpe", "cmaes", "nsga2"])
def test_every_sampler_continues_with_pruned_trials(sampler: str) -> None:
    spec = study(
        24,
        parameters={"x": {"type": "float", "min": 0.0, "max": 1.0, "step": 0.25}},
        search={"algorithm": "random", "seed": 3},
    )
    search = SearchSpec(sampler=sampler, pruner="asha_stopping", max_resource=9, seed=3)
    if sampler == "grid":
        definition = spec.parameters["x"].model_copy()
        spec = spec.model_copy(update={"parameters": {"x": definition, "y": definition}})
    result = simulate(spec.model_copy(update={"search": search}), by_chance, Cluster(gpus=4), mode="refill")
    counts = Counter(t.state for t in result.history.trials)
    assert counts[TrialState.PRUNED] + counts[TrialState.COMPLETE] == 24
    assert counts[TrialState.PRUNED] >= 8 and counts[TrialState.COMPLETE] >= 1
