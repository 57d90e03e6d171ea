"""Objectives that are scores, in the study file."""

from __future__ import annotations

from typing import Any

import pytest

from hposlurm.spec import parse
from hposlurm.trial import Efficiency, Objective, Term
from tests.spec.data import changed, problems_of

COST = {"metric": "n_parameters", "budget": 1.0e9, "weight": 0.1}


def objective(**entry: Any) -> Objective:
    (found,) = parse(changed(objectives=[{"name": "eval_loss", "report": "last", **entry}]), "x").objectives
    return found


def test_the_metric_is_the_score_and_the_name_stays_in_the_file() -> None:
    found = objective(efficiency=COST)
    assert (found.metric, found.value_metric) == ("eval_loss_score", "eval_loss")
    assert found.efficiency == Efficiency("n_parameters", 1e9, 0.1)
    assert found.reported == ("eval_loss", "n_parameters")
    study = parse(changed(objectives=[{"name": "eval_loss", "report": "last", "efficiency": COST}]), "x")
    dumped = study.model_dump(mode="json", by_alias=True)["objectives"]
    assert dumped == [{"name": "eval_loss", "direction": "minimize", "report": "last", "efficiency": COST}]
    assert parse({**changed(), "objectives": dumped}, "x").objectives == study.objectives


def test_a_sum_has_a_name_of_its_own() -> None:
    found = objective(name="score", sum={"eval_loss": {}, "latency_ms": {"weight": 0.5, "scale": 100}})
    assert (found.metric, found.terms) == ("score", (Term("eval_loss"), Term("latency_ms", 0.5, 100.0)))
    assert found.reported == ("eval_loss", "latency_ms")


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"efficiency": {**COST, "budget": 0}}, "objectives.0.efficiency.budget: must be"),
        ({"efficiency": {**COST, "weight": -1}}, "objectives.0.efficiency.weight: must be at least 0"),
        ({"efficiency": {"metric": "n"}}, "objectives.0.efficiency.budget: is missing"),
        (
            {"efficiency": {**COST, "weigth": 1}},
            "objectives.0.efficiency.weigth: unknown key",
        ),
        ({"efficiency": {**COST, "metric": "eval_loss"}}, "objectives.0: efficiency.metric must be another metric"),
        ({"efficiency": COST, "sum": {"a": {}}}, "objectives.0: has both efficiency and sum"),
        ({"sum": {"eval_loss": {}}}, "objectives.0: the sum 'eval_loss' cannot be a part of itself"),
        ({"sum": {"a": {"scale": 0}}}, "objectives.0.sum.a.scale: must be"),
    ],
)
def test_problems_have_their_place(entry: dict[str, Any], problem: str) -> None:
    study = changed(objectives=[{"name": "eval_loss", **entry}])
    found = problems_of(study)
    assert any(each.startswith(problem) for each in found), found
