"""The section `search`: what its names stand for, and what does not go together in it."""

from __future__ import annotations

from typing import Any

import pytest

from hposlurm.pruning import StopRule
from hposlurm.search.rungs import stop_rule
from hposlurm.spec import SearchSpec, dump, load, parse
from hposlurm.trial import CountedReport, Objective
from tests.spec.data import changed, problems_of, write

ONE = [{"name": "eval_loss"}]
LOSS = (Objective("eval_loss", report=CountedReport.BEST),)


def search(**keys: Any) -> dict[str, Any]:
    return changed(search=keys, objectives=ONE)


@pytest.mark.parametrize(
    ("given", "pair", "name"),
    [
        ({}, ("auto", "auto"), "auto"),
        ({"algorithm": "grid"}, ("grid", "none"), "grid"),
        ({"algorithm": "bohb"}, ("tpe", "hyperband"), "bohb"),
        ({"sampler": "qmc"}, ("qmc", "none"), "qmc"),
        ({"pruner": "asha"}, ("tpe", "asha"), "tpe + asha"),
        ({"algorithm": "median"}, ("tpe", "median"), "median"),
        ({"algorithm": "asha_stopping"}, ("random", "asha_stopping"), "asha_stopping"),
        ({"sampler": "gp", "pruner": "wilcoxon"}, ("gp", "wilcoxon"), "gp + wilcoxon"),
        ({"sampler": "random", "pruner": "hyperband"}, ("random", "hyperband"), "random + hyperband"),
    ],
)
def test_an_algorithm_is_a_pair_that_can_be_named_apart(
    given: dict[str, str], pair: tuple[str, str], name: str
) -> None:
    spec = SearchSpec(**given)
    assert (spec.pair, spec.name) == (pair, name)


@pytest.mark.parametrize(
    "given",
    [
        {"algorithm": "asha", "max_resource": 9},
        {"pruner": "percentile", "percentile": 30, "warmup_steps": 2, "warmup_trials": 3, "patience": 4},
        {"algorithm": "random", "patience": 4, "warmup_steps": 2},
        {"algorithm": "asha_stopping", "max_resource": 9},
        {"sampler": "tpe", "pruner": "hyperband", "min_resource": 2, "max_resource": 20, "brackets": 2},
    ],
)
def test_what_was_chosen_is_read_back_as_it_was(given: dict[str, Any], tmp_path: Any) -> None:
    spec = parse(search(**given), "study.yaml")
    assert load(write(tmp_path / "again.yaml", dump(spec))) == spec


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (
            {"algorithm": "asha", "sampler": "tpe", "max_resource": 9},
            "search.sampler: cannot be used together with search.algorithm, which names both (remove one of the two)",
        ),
        ({"algorithm": "asha"}, "search.max_resource: is missing; asha compares trials on their way to it"),
        ({"algorithm": "tpe", "min_resource": 2}, "search.min_resource: has no meaning without search.max_resource"),
        (
            {"algorithm": "asha", "min_resource": 6, "max_resource": 9},
            "search.min_resource: 6 is too close to max_resource 9: there is no rung between them (at most 5)",
        ),
        (
            {"algorithm": "asha", "max_resource": 9, "brackets": 2},
            "search.brackets: is for hyperband and bohb, not for asha (remove it)",
        ),
        (
            {"algorithm": "asha", "max_resource": 9, "compare_by": "domination"},
            "search.compare_by: domination needs several objectives; there is only one (remove it)",
        ),
        ({"algorithm": "asha_stopping"}, "search.max_resource: is missing; asha_stopping compares trials on their way"),
        (
            {"algorithm": "threshold"},
            "search.upper: is missing; threshold stops what is above it (or set search.lower)",
        ),
        (
            {"algorithm": "threshold", "lower": 2, "upper": 1},
            "search.lower: must be at most upper: 2 > 1",
        ),
        ({"algorithm": "patient"}, "search.patience: is missing; patient stops a trial that has not improved"),
        (
            {"algorithm": "asha", "max_resource": 9, "patience": 3},
            "search.patience: is for trials that are trained in one go; asha decides itself how far each is trained",
        ),
        ({"algorithm": "auto", "max_resource": 9, "patience": 3}, "search.patience: is for trials that are trained in"),
        (
            {"algorithm": "median", "percentile": 30},
            "search.percentile: is for percentile, not for median (remove it)",
        ),
        ({"algorithm": "tpe", "p_value": 0.2}, "search.p_value: is for wilcoxon, not for tpe (remove it)"),
        (
            {"algorithm": "asha_stopping", "max_resource": 9, "warmup_trials": 2},
            "search.warmup_trials: is for median and percentile, not for asha_stopping (remove it)",
        ),
        ({"algorithm": "percentile", "percentile": 100}, "search.percentile: must be less than 100"),
        (
            {"algorithm": "asha", "max_resource": 9, "reduction_factor": 1},
            "search.reduction_factor: must be at least 2",
        ),
    ],
)
def test_what_does_not_go_together_is_said(given: dict[str, Any], problem: str) -> None:
    (found,) = problems_of(search(**given))
    assert found.startswith(problem)


def test_the_largest_lowest_rung_that_is_offered_works() -> None:
    for most in range(2, 40):
        (found,) = problems_of(search(algorithm="asha", min_resource=most, max_resource=most))
        offered = int(found.rsplit("at most ", 1)[1].rstrip(")"))
        if offered:
            parse(search(algorithm="asha", min_resource=offered, max_resource=most), "study.yaml")


def test_weights_are_for_the_weighted_comparison() -> None:
    objectives = [{"name": "loss", "weight": 2}, {"name": "f1", "direction": "maximize", "weight": 0.5}]
    with_rungs = {"algorithm": "asha", "max_resource": 9}
    spec = parse(changed(objectives=objectives, search={**with_rungs, "compare_by": "weighted"}), "study.yaml")
    assert [o.weight for o in spec.objectives] == [2.0, 0.5]
    assert [p.split(": ")[0] for p in problems_of(changed(objectives=objectives, search=with_rungs))] == [
        "objectives.0.weight",
        "objectives.1.weight",
    ]


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"algorithm": "asha", "max_resource": 9}, None),
        ({"algorithm": "asha_stopping", "max_resource": 9}, StopRule("asha_stopping", LOSS, levels=(1, 3))),
        ({"algorithm": "median", "patience": 4}, StopRule("median", LOSS, percentile=50.0, patience=4)),
        ({"algorithm": "percentile"}, StopRule("percentile", LOSS, percentile=25.0)),
        (
            {"algorithm": "wilcoxon", "p_value": 0.2, "warmup_steps": 3},
            StopRule("wilcoxon", LOSS, warmup_steps=3, p_value=0.2),
        ),
        ({"sampler": "qmc", "patience": 4}, StopRule("patient", LOSS, patience=4)),
        ({"algorithm": "auto", "patience": 4}, StopRule("patient", LOSS, patience=4)),
    ],
)
def test_the_rule_that_workers_are_given(given: dict[str, Any], rule: StopRule | None) -> None:
    spec = parse(search(**given), "study.yaml")
    assert stop_rule(spec.search, spec.objectives) == rule


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"algorithm": "patient", "patience": 2, "compare_by": "domination"}, "patient needs one number per report"),
        ({"algorithm": "median", "patience": 2, "compare_by": "domination"}, "patience needs one number per report"),
        (
            {"algorithm": "threshold", "upper": 2, "compare_by": "weighted"},
            "threshold uses only the first objective",
        ),
    ],
)
def test_what_compares_single_numbers_is_given_single_numbers(keys: dict[str, Any], problem: str) -> None:
    objectives = [{"name": "loss"}, {"name": "f1", "direction": "maximize"}]
    (found,) = problems_of(changed(objectives=objectives, search=keys))
    assert found.startswith(f"search.compare_by: {problem}")
