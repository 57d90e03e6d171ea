"""How much of its budgets a study has used, as `status` shows it."""

from __future__ import annotations

from pathlib import Path

from hposlurm.records.history import read_history
from hposlurm.report.budget import BudgetUse, budget_text, budget_use, raised
from hposlurm.spec import BudgetSpec
from hposlurm.trial import Objective
from tests.studies import BEGIN, add_wave, completed, make_study, start, study_of_completed, write_journal

LOSS = [Objective("eval_loss")]
EVERYTHING = BudgetSpec(n_trials=12, gpu_hours=40, wall_time="6:00:00", patience=20)


def test_used_and_reserved_of_a_running_study(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, range(3), time_limit_s=7200.0)
    write_journal(layout, 0, completed(0, 2.0))  # an hour of two GPUs
    write_journal(layout, 1, [start(1, t=BEGIN)])
    found = budget_use(EVERYTHING, read_history(layout), LOSS, BEGIN + 1800)
    assert found == {
        "n_trials": BudgetUse(3, 12),
        "gpu_hours": BudgetUse(3.0, 40, reserved=7.0),
        "wall_time": BudgetUse(1800, 21600),
        "patience": BudgetUse(0, 20),
    }
    assert budget_text(found) == ("gpu_hours 3 of 40 (and 7 reserved), wall_time 0:30:00 of 6:00:00, patience 0 of 20")


def test_a_study_that_is_over_is_shown_as_it_ended(tmp_path: Path) -> None:
    layout = study_of_completed(tmp_path, 2)
    add_wave(layout, [], finished="wall_time: …", created_at=BEGIN + 7200)
    found = budget_use(EVERYTHING, read_history(layout), LOSS, BEGIN + 1e6)
    assert found["wall_time"] == BudgetUse(7200, 21600)


def test_only_budgets_that_are_set_are_there(tmp_path: Path) -> None:
    found = budget_use(BudgetSpec(n_trials=12), read_history(study_of_completed(tmp_path, 2)), LOSS, BEGIN)
    assert (found, budget_text(found)) == ({"n_trials": BudgetUse(2, 12)}, "")


def test_a_spent_number_of_trials_names_the_setting_that_raises_it(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, range(3))
    history = read_history(layout)
    assert raised(history, BudgetSpec(n_trials=3)) == "budget.n_trials=13"
    assert raised(history, BudgetSpec(n_trials=4)) is None
    assert raised(history, BudgetSpec(gpu_hours=4)) is None
