"""Which mode `waves.mode: auto` chooses for a study, and why."""

from __future__ import annotations

from typing import Any

import pytest

from hposlurm.decisions import Mode, mode_of, waves_in_flight
from hposlurm.spec import StudySpec
from hposlurm.spec.check import cross_problems
from tests.planner.fake import spec

RUNGS = {"min_resource": 1, "max_resource": 9}
PBT = {"algorithm": "pbt", "population_size": 4, "perturbation_interval": 2, "max_resource": 8}
MUTABLE = {"x": {"type": "float", "min": 0.0, "max": 1.0, "mutable": True}}


def study(**changes: Any) -> StudySpec:
    return spec(**{"waves": {"size": 4}, "budget": {"n_trials": 40}, **changes})


@pytest.mark.parametrize(
    ("changes", "name", "why"),
    [
        ({}, "overlap", "take the GPUs that it frees"),
        ({"search": {"algorithm": "auto"}}, "overlap", ""),
        ({"search": {"algorithm": "asha", **RUNGS}}, "overlap", ""),
        ({"search": {"algorithm": "hyperband", **RUNGS}, "waves": {}}, "overlap", ""),
        ({"slurm": {"driver": "chain"}}, "barrier", "driver: chain"),
        ({"slurm": {"driver": "foreground"}}, "overlap", ""),
        ({"waves": {}}, "refill", "takes the best assignment known when it starts"),
        ({"waves": {"max_concurrent": 4}, "search": {"algorithm": "asha", **RUNGS}}, "refill", ""),
        ({"waves": {}, "budget": {"n_trials": 12}}, "refill", ""),
        ({"waves": {}, "search": {"algorithm": "random"}, "budget": {"gpu_hours": 50}}, "refill", ""),
        ({"waves": {}, "slurm": {"driver": "foreground"}}, "overlap", ""),
        ({"waves": {}, "slurm": {"driver": "chain"}}, "barrier", "driver: chain"),
        ({"search": PBT, "parameters": MUTABLE}, "barrier", "a generation begins"),
        ({"search": {"algorithm": "cmaes"}}, "barrier", "cmaes makes a generation"),
        ({"search": {"algorithm": "nsga2"}}, "barrier", "nsga2 makes a generation"),
        ({"search": {"algorithm": "random"}, "waves": {}}, "barrier", "all trials are one wave"),
        ({"search": {"algorithm": "random"}}, "overlap", ""),
        ({"budget": {"n_trials": 12}}, "barrier", "12 trials in waves of 4 would all be planned"),
        ({"budget": {"n_trials": 13}}, "overlap", ""),
        ({"budget": {"n_trials": 12}, "search": {"algorithm": "random"}}, "overlap", ""),
        ({"waves": {"size": 4, "max_concurrent": 4}}, "overlap", "refill (without waves.size) would use more of it"),
        ({"waves": {"size": 4, "max_concurrent": 4}, "backend": "local"}, "overlap", "that it frees"),
        ({"waves": {"size": 7, "max_concurrent": 7}}, "barrier", "parts of max_concurrent: 7 are too unequal"),
        ({"waves": {"size": 7, "max_concurrent": 7}, "backend": "local"}, "overlap", ""),
        ({"waves": {"max_concurrent": 7}, "search": {"algorithm": "hyperband", **RUNGS}}, "overlap", ""),
        (
            {"waves": {"max_concurrent": 1}, "search": {"algorithm": "hyperband", **RUNGS}},
            "barrier",
            "nothing to run on",
        ),
    ],
)
def test_auto_chooses_the_mode_that_suits_the_search(changes: dict[str, Any], name: str, why: str) -> None:
    found = mode_of(study(**changes))
    assert found.name == name and why in found.why
    slots = changes.get("waves", {}).get("max_concurrent", 4)
    assert (waves_in_flight(study(**changes), slots) > 1) == (name == "overlap")


@pytest.mark.parametrize(
    ("size", "most", "waves"),
    [
        (8, 8, 2),
        (16, 8, 2),
        (4, 8, 4),  # with two of them half the slots would idle
        (2, 16, 8),  # which all fit: nothing is divided
        (7, 7, 1),  # 4 and 3
        (9, 9, 3),
        (11, 11, 2),
        (1, 1, 1),
        (2, 9, 8),  # small ones: as many as may be, though some parts are larger
        (3, 10, 8),
        (6, 20, 8),
        (4, 100, 8),
        (16, None, 3),
        (2, None, 5),
    ],
)
def test_waves_that_share_max_concurrent_are_few_and_equal(size: int, most: int | None, waves: int) -> None:
    spec = study(waves={"size": size, "max_concurrent": most, "mode": "overlap"})
    assert waves_in_flight(spec, most or 4) == waves


def test_on_one_machine_nothing_is_divided() -> None:
    spec = study(waves={"size": 7, "max_concurrent": 7, "mode": "overlap"}, backend="local")
    assert waves_in_flight(spec, 7) == 3


@pytest.mark.parametrize("mode", ["barrier", "overlap", "refill"])
def test_a_given_mode_is_used_without_a_reason(mode: str) -> None:
    assert mode_of(study(waves={"mode": mode})) == Mode(mode)


def test_a_chain_may_leave_the_mode_open() -> None:
    found = cross_problems({"slurm": {"driver": "chain"}, "waves": {"mode": "auto"}})
    assert not [problem for problem in found if problem.path in ("waves.mode", "slurm.driver")]
