"""What is said in a study file and not used is named."""

from __future__ import annotations

from typing import Any

import pytest

from hposlurm.spec import parse, unused


def told(search: dict[str, Any], objectives: int = 1, *, mutable: bool = False) -> list[str]:
    data = {
        "name": "some",
        "objectives": [{"name": "loss"}, {"name": "time"}][:objectives],
        "parameters": {"x": {"type": "float", "min": 0.0, "max": 1.0, **({"mutable": True} if mutable else {})}},
        "search": search,
        "budget": {"n_trials": 9},
        "trial": {"command": "true {{ x }}"},
    }
    return [line.removesuffix(f" is not used by {search['algorithm']}") for line in unused(parse(data, "some"))]


RUNGS = {"min_resource": 2, "max_resource": 9, "reduction_factor": 2}


@pytest.mark.parametrize("algorithm", ["asha", "asha_stopping", "hyperband", "bohb", "successive_halving", "auto"])
def test_who_has_rungs_uses_what_says_where_they_lie(algorithm: str) -> None:
    assert told({"algorithm": algorithm, **RUNGS}) == []


@pytest.mark.parametrize("algorithm", ["random", "tpe", "gp", "qmc", "median", "nsga2"])
def test_who_has_none_does_not(algorithm: str) -> None:
    assert told({"algorithm": algorithm, **RUNGS}) == ["search.min_resource", "search.reduction_factor"]


def test_auto_without_an_end_has_no_rungs() -> None:
    assert told({"algorithm": "auto", "reduction_factor": 2}) == ["search.reduction_factor"]


@pytest.mark.parametrize(("algorithm", "is_used"), [("tpe", True), ("gp", True), ("auto", True), ("random", False)])
def test_only_models_begin_with_random_points(algorithm: str, is_used: bool) -> None:
    assert told({"algorithm": algorithm, "startup_trials": 20}) == ([] if is_used else ["search.startup_trials"])


@pytest.mark.parametrize(
    ("algorithm", "is_used"), [("asha", True), ("median", True), ("nsga2", False), ("auto", False)]
)
def test_objectives_are_compared_where_somebody_is_stopped(algorithm: str, is_used: bool) -> None:
    search = {"algorithm": algorithm, "max_resource": 9, "compare_by": "domination"}
    assert told(search, 2) == ([] if is_used else ["search.compare_by"])


def test_patience_compares_objectives_without_a_pruner() -> None:
    assert told({"algorithm": "tpe", "patience": 3, "compare_by": "weighted"}, 2) == []


def test_mutable_parameters_change_only_in_a_population() -> None:
    assert told({"algorithm": "random"}, mutable=True) == ["parameters.x.mutable"]
    population = {"algorithm": "pbt", "population_size": 4, "perturbation_interval": 2, "max_resource": 8}
    assert told(population, mutable=True) == []
