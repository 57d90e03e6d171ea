"""What a study may cost is shown before it is launched, and a large one needs a confirmation."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from hposlurm.cli import launch
from hposlurm.study import Study
from tests.cli.run import Run


@pytest.fixture(autouse=True)
def four_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    monkeypatch.delenv("HPOSLURM_CONFIRM_GPU_HOURS", raising=False)


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the studies that would have been launched."""
    names: list[str] = []
    monkeypatch.setattr(Study, "launch", lambda study, **_: names.append(study.spec.name))
    monkeypatch.setattr(launch, "go_on", lambda *_, **__: None)
    return names


def write(run: Run, **sections: Any) -> str:
    """12 trials of 2 GPUs for 30 minutes, each tried up to three times: 36 GPU hours."""
    data: dict[str, Any] = {
        "name": "dear",
        "backend": "local",
        "objectives": [{"name": "loss"}],
        "parameters": {"x": {"type": "float", "min": 0.0, "max": 1.0}},
        "budget": {"n_trials": 12},
        "waves": {"size": 4, "mode": "barrier"},
        "trial": {"command": "train {{ x }}", "retries": 2},
        "resources": {"gpus_per_node": 2, "time": "00:30:00"},
    }
    path = run.runs.parent / "dear.yaml"
    path.write_text(yaml.safe_dump({**data, **sections}))
    return str(path)


@pytest.mark.parametrize("words", [["check"], ["launch", "--dry-run"]])
def test_the_worst_case_is_shown(run: Run, words: list[str]) -> None:
    said = run(*words, write(run)).out
    assert "cost: at most 36 GPU hours; wave 0: 4 (one trial: 2 GPUs for up to 30 min = 1)\n" in said
    assert not list(run.runs.iterdir())


@pytest.mark.parametrize(
    ("sections", "line"),
    [
        ({"budget": {"n_trials": 12, "gpu_hours": 8}}, "cost: at most 8 GPU hours; wave 0: 4"),
        ({"budget": {"gpu_hours": 3}}, "cost: at most 3 GPU hours; wave 0: 3"),
        ({"budget": {"wall_time": "1:00:00"}}, "cost: at most 12 GPU hours"),
        ({"budget": {"patience": 3}}, "cost: any number of GPU hours (no budget bounds them); wave 0: 4"),
        ({"parameters": {"x": {"choices": [1, 2]}}, "search": {"algorithm": "grid"}}, "cost: at most 6 GPU hours"),
        ({"resources": {"time": "00:30:00"}}, "cost: no GPU hours\n"),
    ],
)
def test_budgets_bound_the_cost(run: Run, sections: dict[str, Any], line: str) -> None:
    assert line in run("check", write(run, **sections)).out


def test_a_population_is_counted_in_jobs_and_trials(run: Run) -> None:
    x = {"type": "float", "min": 0.0, "max": 1.0, "mutable": True}
    search = {"algorithm": "pbt", "population_size": 8, "perturbation_interval": 3, "max_resource": 8}
    sections = {"parameters": {"x": x}, "search": search, "waves": {}}
    size = "population: 8 members, 3 generations to the steps 3, 6, 8: 24 jobs"
    whole = run("check", write(run, **sections, budget={})).out
    assert f"{size}; 12 trials, 4 of them copies, if none fails\ntraining: 64 steps, 8 full trainings of 8\n" in whole
    assert "cost: at most 52.8 GPU hours; wave 0: 5.87 (" in whole
    assert f"{size}; 9 trials, 1 of them copies" in run("check", write(run, **sections, budget={"n_trials": 9})).out


def test_on_a_machine_without_gpus_nothing_is_counted(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "cost: no GPU hours" in run("check", write(run, budget={"n_trials": 12, "gpu_hours": 8})).out
    result = run("check", write(run, budget={"gpu_hours": 8}))
    assert result.status == 2
    assert "budget.gpu_hours: this machine shows no GPUs" in result.err and "budget.n_trials" in result.err


def test_a_small_study_is_launched_without_a_question(run: Run, launched: list[str]) -> None:
    assert run("launch", write(run)).status == 0
    assert launched == ["dear"]


@pytest.mark.parametrize("way", ["key", "variable"])
def test_a_large_one_is_refused_where_nobody_can_be_asked(
    run: Run, launched: list[str], monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    if way == "variable":
        monkeypatch.setenv("HPOSLURM_CONFIRM_GPU_HOURS", "35.5")
    file = write(run, budget={"n_trials": 12, **({"confirm_gpu_hours": 35.5} if way == "key" else {})})
    result = run("launch", file)
    assert result.status == 2
    assert "dear may cost at most 36 GPU hours; more than 35.5 need a confirmation" in result.err
    assert "--yes, or bound it with --set budget.gpu_hours=35.5" in result.err
    assert not launched and not list(run.runs.iterdir())
    assert run("launch", file, "--yes").status == 0
    assert run("launch", file, "--set", "budget.gpu_hours=35.5").status == 0
    assert launched == ["dear", "dear"]


def test_the_default_is_a_thousand(run: Run, launched: list[str]) -> None:
    assert run("launch", write(run, budget={"n_trials": 333})).status == 0
    result = run("launch", write(run, budget={"n_trials": 334}))
    assert "at most 1,002 GPU hours; more than 1,000 need" in result.err
    assert launched == ["dear"]


def test_a_study_that_nothing_bounds_is_a_large_one(run: Run, launched: list[str]) -> None:
    result = run("launch", write(run, budget={"patience": 3}))
    assert (result.status, launched) == (2, [])
    assert "may cost any number of GPU hours (no budget bounds them)" in result.err


def test_the_key_is_stronger_than_the_variable(run: Run, launched: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPOSLURM_CONFIRM_GPU_HOURS", "1")
    assert run("launch", write(run, budget={"n_trials": 12, "confirm_gpu_hours": 36})).status == 0
    assert launched == ["dear"]


@pytest.mark.parametrize("value", ["many", "-1", "nan"])
def test_a_wrong_variable_is_said(run: Run, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("HPOSLURM_CONFIRM_GPU_HOURS", value)
    result = run("launch", write(run))
    assert result.status == 2
    assert f"HPOSLURM_CONFIRM_GPU_HOURS must be a number of GPU hours, at least 0, not '{value}'" in result.err


def test_on_a_terminal_it_asks_and_no_is_no(run: Run) -> None:
    file = write(run, budget={"n_trials": 12, "confirm_gpu_hours": 1})
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "hposlurm", "launch", file]
    with subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower, env={**os.environ}) as process:
        os.close(follower)
        seen = b""
        while b"Launch it?" not in seen:
            seen += os.read(leader, 4096)
        os.write(leader, b"n\n")
        assert process.wait(timeout=60) == 2
    os.close(leader)
    assert b"dear may cost at most 36 GPU hours" in seen
    assert not list(Path(run.runs).iterdir())


@pytest.mark.parametrize("words", [["check"], ["launch", "--dry-run"]])
def test_what_would_be_trained_is_shown(run: Run, words: list[str]) -> None:
    said = run(*words, write(run, search={"algorithm": "asha", "max_resource": 9})).out
    assert "\ntraining: 26 to 80 steps, 2.889 to 8.889 full trainings of 9: the fewest if the best " in said
    assert " (of 12 trials; at least 12 to 1, 4 to 3, 1 to 9)\n" in said
