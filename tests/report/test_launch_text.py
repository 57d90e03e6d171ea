"""What is said of a study before it is launched: which rungs there are and what would be trained."""

from __future__ import annotations

from typing import Any

import pytest

from hposlurm.report.launch_text import limits_line, time_notes, training_lines
from hposlurm.spec import parse
from tests.simulation.studies import study


@pytest.mark.parametrize(
    ("search", "lines"),
    [
        (
            {"algorithm": "asha", "max_resource": 9},
            [
                "rungs: 1, 3, 9 (asha, reduction_factor 3)",
                "training: 63 to 215 steps, 7 to 23.89 full trainings of 9: the fewest if the best trials come first, "
                "the most if each is better than all before it (of 27 trials; at least 27 to 1, 9 to 3, 3 to 9)",
            ],
        ),
        (
            {"algorithm": "asha_stopping", "max_resource": 9},
            [
                "rungs: 1, 3, 9 (asha_stopping, reduction_factor 3)",
                "training: 35 to 243 steps, 3.889 to 27 full trainings of 9: the fewest if the best trials come first, "
                "the most if each is better than all before it; about 79 steps if they come in no order (of 27 trials; "
                "at least 27 to 1, 1 to 3, 1 to 9)",
            ],
        ),
        ({"algorithm": "median", "max_resource": 9}, ["training: at most 243 steps, 27 full trainings of 9"]),
        ({"algorithm": "random", "max_resource": 1}, ["training: 27 steps, 27 full trainings of 1"]),
        ({"algorithm": "random"}, []),
    ],
)
def test_of_a_study_with_so_many_trials(search: dict[str, Any], lines: list[str]) -> None:
    assert list(training_lines(study(27, search=search))) == lines


def test_without_a_number_of_trials_there_are_rungs_alone() -> None:
    spec = study(None, search={"algorithm": "asha", "max_resource": 9}, budget={"wall_time": "1:00:00"})
    assert list(training_lines(spec)) == ["rungs: 1, 3, 9 (asha, reduction_factor 3)"]


def test_a_space_may_be_smaller_than_the_budget() -> None:
    spec = study(27, parameters={"x": {"choices": [1, 2]}, "y": {"choices": [1, 2, 3]}}, search={"max_resource": 9})
    assert list(training_lines(spec)) == ["training: 54 steps, 6 full trainings of 9"]


@pytest.mark.parametrize(
    ("trial", "budget", "notes"),
    [
        ({"timeout": 2}, {"n_trials": 2, "wall_time": 24}, ["trial.timeout is 2s, ", "budget.wall_time is 24m00s, "]),
        ({"timeout": "2h"}, {"n_trials": 2, "wall_time": "2d"}, []),
        ({}, {"n_trials": 2}, []),
    ],
)
def test_a_limit_much_shorter_than_a_job_is_noted_with_its_unit(
    trial: dict[str, Any], budget: dict[str, Any], notes: list[str]
) -> None:
    data = {
        "name": "units",
        "objectives": [{"name": "loss"}],
        "parameters": {"lr": {"choices": [0.1, 0.2]}},
        "budget": budget,
        "resources": {"time": "8:00:00"},
        "trial": {"command": "train {{ lr }}", **trial},
    }
    found = list(time_notes(parse(data, "units")))
    assert [note[: len(begin)] for note, begin in zip(found, notes, strict=True)] == notes
    assert all("less than a tenth of resources.time (8h00m); a plain number there means" in note for note in found)
    assert limits_line(parse(data, "units")).startswith("times at most: a job 8h00m")
