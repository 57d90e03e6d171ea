"""What `waves.mode: auto` is for a study, and why."""

from __future__ import annotations

from typing import Any

import pytest

from hposlurm.assignments import Mode, mode_of, waves_in_flight
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
        ({}, "overlap", "take the GPUs that it leaves"),
        ({"search": {"algorithm": "auto"}}, "overlap", ""),
        ({"search": {"algorithm": "asha", **RUNGS}}, "overlap", ""),
        ({"search": {"algorithm": "hyperband", **RUNGS}, "waves": {}}, "overlap", ""),
        ({"slurm": {"driver": "chain"}}, "barrier", "driver: chain"),
        ({"slurm": {"driver": "foreground"}}, "overlap", ""),
        ({"waves": {}}, "refill", "a job that starts takes what is best"),
        ({"waves": {"max_concurrent": 4}, "search": {"algorithm": "asha", **RUNGS}}, "refill", ""),
        ({"waves": {}, "budget": {"n_trials": 12}}, "refill", ""),
        ({"waves": {}, "search": {"algorithm": "random"}, "budget": {"gpu_hours": 50}}, "refill", ""),
        ({"waves": {}, "slurm": {"driver": "foreground"}}, "overlap", ""),
        ({"waves": {}, "slurm": {"driver": "chain"}}, "barrier", "driver: chain"),
        ({"search": PBT, "parameters": MUTABLE}, "barrier", "a generation begins"),
        ({"search": {"algorithm": "cmaes"}}, "barrier", "cmaes breeds"),
        ({"search": {"algorithm": "nsga2"}}, "barrier", "nsga2 breeds"),
        ({"search": {"algorithm": "random"}, "waves": {}}, "barrier", "all is one wave"),
        ({"search": {"algorithm": "random"}}, "overlap", ""),
        ({"budget": {"n_trials": 12}}, "barrier", "of 12 trials in waves of 4 all would be planned"),
        ({"budget": {"n_trials": 13}}, "overlap", ""),
        ({"budget": {"n_trials": 12}, "search": {"algorithm": "random"}}, "overlap", ""),
    ],
)
def test_auto_is_what_the_search_can_use(changes: dict[str, Any], name: str, why: str) -> None:
    found = mode_of(study(**changes))
    assert found.name == name and why in found.why
    assert (waves_in_flight(study(**changes), 4) > 1) == (name == "overlap")


@pytest.mark.parametrize("mode", ["barrier", "overlap", "refill"])
def test_a_mode_that_is_given_holds_and_needs_no_reason(mode: str) -> None:
    assert mode_of(study(waves={"mode": mode})) == Mode(mode)


def test_a_chain_may_leave_the_mode_open() -> None:
    found = cross_problems({"slurm": {"driver": "chain"}, "waves": {"mode": "auto"}})
    assert not [problem for problem in found if problem.path in ("waves.mode", "slurm.driver")]
