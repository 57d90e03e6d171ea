"""A study whose objective is a score: samplers and rungs go by it, and tables show it beside its parts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hposlurm.records.layout import StudyLayout
from hposlurm.report.records import StudyRecords
from hposlurm.report.tables import collect
from hposlurm.simulation import Cluster, simulate
from hposlurm.trial import TrialState
from tests.report.notices.honest import study as study_of

SIZES = {"small": 5e8, "large": 1e9}
LOSSES = {"small": 0.100, "large": 0.099}


def train(params: dict[str, Any], from_step: int, to_step: int | None) -> Iterator[tuple[int, dict[str, float], float]]:
    """The number of parameters is reported once, at the first step."""
    for step in range(from_step + 1, (to_step or 9) + 1):
        size = {"n_parameters": SIZES[params["model"]]} if step == 1 else {}
        yield step, {"eval_loss": LOSSES[params["model"]] + (9 - step) / 1000, **size}, 10.0 * (step - from_step)


@pytest.mark.parametrize("weight", [0.0, 0.1])
def test_the_second_model_wins_only_where_its_size_counts(weight: float) -> None:
    cost = {"metric": "n_parameters", "budget": 1e9, "weight": weight}
    spec = study_of(
        None,
        parameters={"model": {"choices": ["large", "small"]}},
        objectives=[{"name": "eval_loss", "efficiency": cost}],
        search={"algorithm": "grid"},
        trial={"command": "true {{ model }}"},
    )
    found = simulate(spec, train, Cluster(gpus=2, seed=1), mode="barrier").history
    table = collect([StudyRecords(StudyLayout(Path("/nowhere/x")), spec, found).results])
    shown = {row["model"]: (row["eval_loss_score"], row["eval_loss"], row["n_parameters"]) for row in table.rows}
    assert shown["large"] == (pytest.approx(0.099 * (1 + weight)), pytest.approx(0.099), 1e9)
    assert shown["small"] == (pytest.approx(0.100 * (1 + weight / 2)), pytest.approx(0.100), 5e8)
    assert table.rows[0]["model"] == ("small" if weight else "large")


def test_rungs_go_by_the_score() -> None:
    """The large ones have the better losses at every step, and cost more than that."""
    cost = {"metric": "n_parameters", "budget": 1e9, "weight": 0.1}
    spec = study_of(
        18,
        parameters={"model": {"choices": ["large", "small"]}, "x": {"type": "float", "min": 0.0, "max": 1.0}},
        objectives=[{"name": "eval_loss", "efficiency": cost}],
        search={"algorithm": "asha", "min_resource": 1, "max_resource": 9, "reduction_factor": 3},
        trial={"command": "true {{ model }} {{ x }}"},
    )
    found = simulate(spec, train, Cluster(gpus=18, seed=1), mode="barrier").history
    complete = {trial.params["model"] for trial in found.trials if trial.state is TrialState.COMPLETE}
    assert complete == {"small"}
