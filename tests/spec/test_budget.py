"""The budget's section of a study file: what ends a study, and whether it can begin."""

from __future__ import annotations

from pathlib import Path

import pytest

from hposlurm.spec import dump, load, parse
from tests.spec.data import changed, problems_of, write


@pytest.mark.parametrize(
    ("value", "minutes"),
    [("6:00:00", 360), ("2d", 2880), ("90s", 2), (45, 45), ("45", 45), ("1-12", 2160), ("1h30m", 90)],
)
def test_wall_time_is_a_time_or_minutes_as_resources_time_is(value: object, minutes: int) -> None:
    assert parse(changed(budget={"wall_time": value}), "x").budget.wall_time_min == minutes


@pytest.mark.parametrize(
    "budget",
    [
        {"n_trials": 12},
        {"gpu_hours": 1},
        {"gpu_hours": "7.5"},
        {"wall_time": "6:00:00"},
        {"patience": 20},
        {"n_trials": 12, "gpu_hours": 8, "wall_time": "1d", "patience": 3, "confirm_gpu_hours": 0},
        {"n_trials": 12, "max_failures": 3},
        {"n_trials": 12, "max_failures": 0.2},
    ],
)
def test_each_single_budget_is_enough_and_is_read_back_as_it_was(tmp_path: Path, budget: dict) -> None:
    spec = parse(changed(budget=budget), "x")
    assert load(write(tmp_path / "again.yaml", dump(spec))).budget == spec.budget


@pytest.mark.parametrize("algorithm", ["random", "tpe"])
@pytest.mark.parametrize("budget", [..., {}, {"confirm_gpu_hours": 5}, {"gpu_hours": None}])
def test_a_study_that_nothing_ends_is_refused(algorithm: str, budget: object) -> None:
    (problem,) = problems_of(changed(budget=budget, search__algorithm=algorithm))
    assert problem.startswith("budget.n_trials: is missing")
    assert "budget.gpu_hours, budget.wall_time or budget.patience" in problem


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"budget__gpu_hours": 0}, "budget.gpu_hours: must be more than 0, not 0"),
        ({"budget__gpu_hours": -1.5}, "budget.gpu_hours: must be more than 0, not -1.5"),
        ({"budget__gpu_hours": "many"}, "budget.gpu_hours: must be a number, not 'many'"),
        ({"budget__gpu_hours": True}, "budget.gpu_hours: must be a number, not true"),
        ({"budget__gpu_hours": float("inf")}, "budget.gpu_hours: must be a finite number, not inf"),
        ({"budget__wall_time": "soon"}, 'budget.wall_time: must be a time such as "00:30:00"'),
        ({"budget__patience": 0}, "budget.patience: must be at least 1, not 0"),
        ({"budget__patience": 2.5}, "budget.patience: must be a whole number, not 2.5"),
        ({"budget__confirm_gpu_hours": -1}, "budget.confirm_gpu_hours: must be at least 0"),
        *(
            ({"budget__max_failures": value}, "budget.max_failures: must be a number of trials (1, 2, …) or a share of")
            for value in (0, -1, 1.5, True, "many", float("nan"))
        ),
        ({"budget__gpuhours": 3}, "budget.gpuhours: unknown key 'gpuhours' (did you mean gpu_hours?)"),
        ({"gpu_hours": 3}, "gpu_hours: unknown key 'gpu_hours' (did you mean budget.gpu_hours?)"),
    ],
)
def test_a_wrong_value_is_said_clearly(changes: dict, line: str) -> None:
    (problem,) = problems_of(changed(**changes))
    assert problem.startswith(line)


def test_gpu_hours_of_trials_without_gpus_would_never_be_used() -> None:
    (problem,) = problems_of(changed(budget={"gpu_hours": 8}, resources__gpus_per_node=0))
    assert problem.startswith("budget.gpu_hours: the trials request no GPUs, so it would never be used")
    assert "budget.wall_time" in problem and "gpu_hours: null" in problem


def test_gpu_hours_must_suffice_for_one_trial() -> None:
    (problem,) = problems_of(changed(budget__gpu_hours=0.9))
    assert problem.startswith(
        "budget.gpu_hours: 0.9 is less than one trial may use: 2 GPUs for 30 minutes are 1 (raise it, or lower"
    )
    assert parse(changed(budget__gpu_hours=1), "x").budget.gpu_hours == 1
