"""The section `search`: what its names stand for, and what does not go together in it."""

from __future__ import annotations

from typing import Any

import pytest

from hposlurm.spec import SearchSpec, dump, load, parse
from tests.spec.data import changed, problems_of, write

ONE = [{"name": "eval_loss"}]


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
            "search.sampler: cannot stand beside search.algorithm, which names both (take one of the two out)",
        ),
        ({"algorithm": "asha"}, "search.max_resource: is missing; asha compares trials on their way to it"),
        ({"algorithm": "tpe", "min_resource": 2}, "search.min_resource: means nothing without search.max_resource"),
        (
            {"algorithm": "asha", "min_resource": 6, "max_resource": 9},
            "search.min_resource: 6 is too close to max_resource 9: there is no rung between them (at most 5)",
        ),
        (
            {"algorithm": "asha", "max_resource": 9, "brackets": 2},
            "search.brackets: is for hyperband and bohb, not for asha (take it out)",
        ),
        (
            {"algorithm": "asha", "max_resource": 9, "compare_by": "domination"},
            "search.compare_by: domination needs several objectives, there is one (take it out)",
        ),
        ({"algorithm": "median"}, "search.algorithm: 'median' is not yet in this version"),
        ({"pruner": "median"}, "search.pruner: 'median' is not yet in this version"),
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
