"""Which searches can do with a job that takes its trial when it starts."""

from __future__ import annotations

from typing import Any

import pytest

from hposlurm.errors import SpecError
from tests.planner.fake import spec

REFILL = {"mode": "refill", "max_concurrent": 4}
RUNGS = {"min_resource": 1, "max_resource": 27}


@pytest.mark.parametrize(
    "search",
    [
        *({"algorithm": name} for name in ("random", "qmc", "tpe", "gp", "auto")),
        {"algorithm": "auto", **RUNGS},
        {"algorithm": "asha", **RUNGS},
        {"sampler": "tpe", "pruner": "asha", **RUNGS},
    ],
)
def test_samplers_and_promotion_can(search: dict[str, Any]) -> None:
    assert spec(waves=REFILL, search=search).waves.mode == "refill"


@pytest.mark.parametrize(
    ("search", "why"),
    [
        ({"algorithm": "hyperband", **RUNGS}, "refill cannot compare a whole rung, which hyperband does"),
        ({"algorithm": "bohb", **RUNGS}, "refill cannot compare a whole rung, which bohb does"),
        ({"algorithm": "successive_halving", **RUNGS}, "refill cannot compare a whole rung"),
        ({"algorithm": "cmaes"}, "refill has no waves, which cmaes needs as its generations"),
        ({"algorithm": "nsga2"}, "refill has no waves, which nsga2 needs as its generations"),
        ({"sampler": "nsga3", "pruner": "asha", **RUNGS}, "refill has no waves"),
        (
            {"algorithm": "pbt", "population_size": 4, "max_resource": 9, "perturbation_interval": 3},
            "refill cannot compare a whole generation",
        ),
    ],
)
def test_whoever_compares_whole_waves_cannot(search: dict[str, Any], why: str) -> None:
    x = {"type": "float", "min": -1.0, "max": 1.0, "mutable": search.get("algorithm") == "pbt"}
    with pytest.raises(SpecError, match=why):
        spec(waves=REFILL, search=search, parameters={"x": x})


def test_a_wave_has_no_size_and_no_chain() -> None:
    with pytest.raises(SpecError) as caught:
        spec(waves={**REFILL, "size": 4}, slurm={"driver": "chain"})
    assert [problem.path for problem in caught.value.problems] == ["waves.size", "slurm.driver"]
