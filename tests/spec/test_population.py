"""Population-based training in the study file: what it needs, and what does not go together with it."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from hposlurm.spec import dump, parse
from hposlurm.spec.check import cross_problems
from tests.spec.data import changed, problems_of

PBT = {"algorithm": "pbt", "population_size": 4, "perturbation_interval": 2, "max_resource": 8}
LR = {"type": "float", "min": 1e-5, "max": 1e-3, "log": True, "mutable": True}


def pbt(search: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    return changed(**{"budget": {}, "parameters__lr": LR, "search": {**PBT, **(search or {})}, **changes})


def test_a_population_ends_by_itself_and_knows_what_may_change() -> None:
    decay = {"if": "lr > 0", "then": {"decay": {"choices": [1, 2], "mutable": True}}}
    study = pbt(conditionals=[decay], trial__command="train")
    spec = parse(study, "x")
    assert spec.mutable == {"lr", "decay"} and spec.search.in_generations
    assert parse(yaml.safe_load(dump(spec)), "x") == spec
    assert not parse(changed(), "x").search.in_generations


def test_a_condition_within_a_condition_has_mutable_parameters_too() -> None:
    inner = {"if": "a > 0", "then": {"b": {"type": "float", "min": 0, "max": 1, "mutable": True}}}
    outer = {"if": "lr > 0", "then": {"a": {"type": "int", "min": 0, "max": 1}}, "conditionals": [inner]}
    assert parse(pbt(conditionals=[outer], trial__command="train"), "x").mutable == {"lr", "b"}


def test_the_sampler_of_the_first_members_can_be_named_apart() -> None:
    search = {key: value for key, value in PBT.items() if key != "algorithm"}
    spec = parse(changed(budget={}, parameters__lr=LR, search={**search, "sampler": "qmc", "pruner": "pbt"}), "x")
    assert spec.search.pair == ("qmc", "pbt") and spec.search.in_generations


BAD = {
    "nothing but the name": (
        {"search": {"algorithm": "pbt"}},
        [
            "search.population_size: is missing; pbt needs it",
            "search.max_resource: is missing; pbt needs it",
            "search.perturbation_interval: is missing; pbt needs it",
        ],
    ),
    "nobody would be copied": (
        {"search": {**PBT, "perturbation_interval": 8}},
        ["search.perturbation_interval: 8 is not below max_resource 8: no member would ever be copied (at most 7)"],
    ),
    "nothing can change": (
        {"parameters__lr": {**LR, "mutable": False}},
        ["parameters: none is mutable, so a copy would be identical to its original"],
    ),
    "fewer trials than members": (
        {"budget": {"n_trials": 3}},
        ["budget.n_trials: 3 is less than search.population_size 4; copies count as well"],
    ),
    "more to try first than members": (
        {"search": {**PBT, "enqueue": [{"lr": lr * 1e-5} for lr in range(1, 6)]}},
        ["search.enqueue: has 5 configurations, but search.population_size is 4"],
    ),
    "a share of more than half": (
        {"search": {**PBT, "quantile": 0.6}},
        ["search.quantile: must be at most 0.5, not 0.6"],
    ),
    "a factor that stops everything": (
        {"search": {**PBT, "perturb_factors": [0.8, 0]}},
        ["search.perturb_factors.1: must be more than 0, not 0"],
    ),
    "its keys without it": (
        {"search": {"algorithm": "random", "quantile": 0.3}, "budget": {"n_trials": 3}},
        ["search.quantile: is for pbt, not for random (remove it)"],
    ),
}


@pytest.mark.parametrize(("changes", "lines"), BAD.values(), ids=BAD.keys())
def test_each_problem_is_reported_clearly_and_only_once(changes: dict[str, Any], lines: list[str]) -> None:
    found = problems_of(changed(**{"budget": {}, "parameters__lr": LR, "search": PBT, **changes}))
    assert len(found) == len(lines), found
    for line in lines:
        assert any(problem.startswith(line) for problem in found), found


@pytest.mark.parametrize("mode", ["overlap", "refill"])
def test_a_generation_needs_waves_that_are_waited_for(mode: str) -> None:
    (problem,) = cross_problems(pbt(waves={"mode": mode}))
    assert str(problem).startswith(f"waves.mode: {mode} cannot compare a whole generation")
    assert not cross_problems(pbt(waves={"mode": "barrier"}))
