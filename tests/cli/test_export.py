"""`export`: all results to another program, once and again."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from hposlurm.records.layout import StudyLayout
from tests.cli.run import Run
from tests.publish.results import begun, grown


@pytest.fixture
def demo(runs: Path) -> StudyLayout:
    layout = begun(runs)
    grown(layout)
    return layout


def test_all_of_a_study_goes_into_an_optuna_storage_once(run: Run, demo: StudyLayout) -> None:
    url = f"sqlite:///{demo.root / 'copy.db'}"
    for _ in range(2):
        result = run("export", "demo", "--to", f"optuna:{url}", "--set", "study_name=mine")
        assert (result.status, result.out) == (0, "optuna: 5 trials of demo\n"), result.err
    assert len(optuna.load_study(study_name="mine", storage=url).trials) == 5
    assert not demo.publication("optuna").exists()


@pytest.mark.usefixtures("demo")
@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--to", "aim"], "--to aim: 'aim' is not one of tensorboard, optuna, mlflow, wandb, trackio"),
        (["--to", "csv"], "'csv' is not one of"),
        (
            ["--to", "mlflow://host:5000"],
            "write the whole address after the first colon, as in mlflow:http://host:5000",
        ),
        (["--to", "optuna:oracle://host"], "storage must be sqlite:///FILE, journal:FILE, postgresql+psycopg://"),
        (["--to", "optuna:postgresql://me:secret@host/db"], "storage must not contain a password; export HPOSLURM_DB_"),
        (["--to", "optuna", "--set", "experiment=1"], "experiment"),
        (["--to", "optuna", "--set", "experiment"], "--set 'experiment' is not KEY=VALUE"),
    ],
)
def test_a_wrong_request_says_what_is_allowed(run: Run, words: list[str], error: str) -> None:
    result = run("export", "demo", *words)
    assert (result.status, error in " ".join(result.err.split())) == (2, True), result.err
    assert "secret" not in result.err


@pytest.mark.usefixtures("demo")
def test_a_server_that_is_away_is_a_failure(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    pytest.importorskip("mlflow", reason="MLflow is not installed")
    result = run("export", "demo", "--to", "mlflow:http://127.0.0.1:9")
    assert (result.status, result.err.startswith("error: mlflow: not everything was sent: ")) == (1, True)


def test_a_simulated_study_is_not_sent(run: Run, demo: StudyLayout) -> None:
    demo.simulated.write_text("{}")
    result = run("export", "demo", "--to", "trackio")
    assert (result.status, "was simulated" in result.err) == (2, True)
