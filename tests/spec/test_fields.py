"""Single values of a study file: times and numbers."""

from __future__ import annotations

import pytest

from hposlurm.space import FloatParameter
from hposlurm.spec import parse
from tests.spec.data import changed, problems_of


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("30m", 1800),
        ("90s", 90),
        ("2h", 7200),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("1d", 86400),
        ("1:30:00", 5400),
        ("00:30:00", 1800),
        ("30:00", 1800),
        ("1-00:00:00", 86400),
        ("1-12", 129600),
        (90, 90),
        (0.5, 0.5),
        ("90", 90),
    ],
)
def test_a_timeout_is_a_time_or_seconds(value: object, seconds: float) -> None:
    assert parse(changed(trial__timeout=value), "x").trial.timeout_s == seconds


@pytest.mark.parametrize(
    ("value", "minutes"),
    [
        (30, 30),
        ("30", 30),
        ("00:30:00", 30),
        ("90s", 2),
        ("1:30:00", 90),
        ("1-00:00:00", 1440),
        ("2h", 120),
        ("10:30", 11),
    ],
)
def test_a_job_time_is_a_time_or_minutes_rounded_up(value: object, minutes: int) -> None:
    assert parse(changed(resources__time=value), "x").resources.time_min == minutes


@pytest.mark.parametrize(
    "value", ["", "m", "1:2:3:4", "-5", -5, 0, "0s", "1e3", True, [1], "9" * 400, 10**400, float("nan"), "1,5h", "²m"]
)
def test_what_is_no_time_is_refused(value: object) -> None:
    problems = problems_of(changed(trial__timeout=value, resources__time=value))
    assert [problem.split(":")[0] for problem in problems] == ["trial.timeout", "resources.time"]


def test_numbers_in_quotes_are_numbers_where_a_number_is_needed() -> None:
    study = parse(changed(parameters__lr__min="5e-6", budget__n_trials="3"), "x")
    assert isinstance(study.space.parameters[0], FloatParameter)
    assert study.space.parameters[0].low == 5e-6
    assert study.budget.n_trials == 3
