"""Single values of a study file: times and numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from hposlurm.space import FloatParameter
from hposlurm.spec import dump, load, parse
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


@pytest.mark.parametrize(
    ("value", "switch"), [("on", "on"), ("off", "off"), (True, "on"), (False, "off"), (None, "on"), (..., "on")]
)
def test_the_memory_guard_is_on_unless_it_is_switched_off(value: object, switch: str) -> None:
    assert parse(changed(trial__memory_guard=value), "x").trial.memory_guard == switch


def test_off_means_off_in_the_file_and_after_a_round_trip(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(dump(parse(changed(trial__memory_guard="off", trial__memory_warning_pct=0.9), "x")))
    again = load(file, settings=["trial.memory_grace_steps=0"]).trial
    assert (again.memory_guard, again.memory_warning_pct, again.memory_grace_steps) == ("off", 0.9, 0)
    assert load(file, settings=["trial.memory_guard=on"]).trial.memory_guard == "on"


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("memory_guard", "maybe", "must be on or off, not 'maybe'"),
        ("memory_guard", 1, "must be on or off, not 1"),
        ("memory_guard", ["on"], "must be on or off, not a list"),
        ("memory_warning_pct", 95, "must be at most 1"),
        ("memory_warning_pct", 0, "must be more than 0"),
        ("memory_grace_steps", -1, "must be at least 0"),
        ("memory_grace_steps", 1.5, "must be a whole number"),
    ],
)
def test_what_the_memory_guard_cannot_use_is_refused(key: str, value: object, words: str) -> None:
    (problem,) = problems_of(changed(**{f"trial__{key}": value}))
    assert problem.startswith(f"trial.{key}: {words}")


@pytest.mark.parametrize(("value", "name"), [("TERM", "TERM"), ("sigusr1", "USR1"), ("SIGUSR2", "USR2")])
def test_a_stop_signal_is_known_by_its_usual_names(tmp_path: Path, value: str, name: str) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(dump(parse(changed(trial__stop_signal=value, trial__stop_grace="2m"), "x")))
    again = load(file).trial
    assert (again.stop_signal, again.stop_grace_s) == (name, 120)


@pytest.mark.parametrize("value", ["KILL", "STOP", 15, True, "TERM;", ""])
def test_what_cannot_ask_a_script_to_stop_is_refused(value: object) -> None:
    (problem,) = problems_of(changed(trial__stop_signal=value))
    assert problem.startswith("trial.stop_signal: must be one of TERM, INT, HUP, QUIT, USR1, USR2, not ")


def test_what_is_kept_of_checkpoints_survives_a_round_trip(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(dump(parse(changed(trial__keep_checkpoints=0, trial__checkpoint_gb=9.5), "x")))
    assert (load(file).trial.keep_checkpoints, load(file).trial.checkpoint_gb) == (0, 9.5)
    file.write_text(dump(parse(changed(), "x")))
    assert (load(file).trial.keep_checkpoints, load(file).trial.checkpoint_gb) == (None, None)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [("keep_checkpoints", -1, "must be at least 0"), ("checkpoint_gb", 0, "must be more than 0")],
)
def test_what_cannot_be_kept_is_refused(key: str, value: object, words: str) -> None:
    (problem,) = problems_of(changed(**{f"trial__{key}": value}))
    assert problem.startswith(f"trial.{key}: {words}")
