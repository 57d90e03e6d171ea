"""The line that says how far a study is, for whoever stays and watches."""

from __future__ import annotations

from pathlib import Path

import pytest

from hposlurm.records.history import read_history
from hposlurm.report.progress_text import progress_line
from hposlurm.spec import load
from tests.studies import make_study, study_of_completed


@pytest.mark.parametrize(("n_trials", "planned"), [(12, "3 of 12 trials"), (3, "3 of 3 trials"), (2, "3 trials")])
def test_a_budget_that_was_lowered_takes_no_trial_back(tmp_path: Path, n_trials: int, planned: str) -> None:
    layout = study_of_completed(tmp_path, 3)
    spec = load(layout.spec(), settings=[f"budget.n_trials={n_trials}"])
    line = progress_line(read_history(layout), spec)
    assert line == f"wave 0: {planned} planned: 3 complete; best eval_loss 1 (trial 0)"


def test_a_study_that_has_planned_nothing_yet_counts_nothing(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    spec = load(layout.spec(), settings=["budget.n_trials=null", "budget.wall_time=60"])
    assert progress_line(read_history(layout), spec) == "wave 0: 0 trials planned"
