"""`export`: all results to another program, once and again."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from hposlurm.records.layout import StudyLayout
from tests.cli.run import Run
from tests.publish.results import begun, grown

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's own


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


def test_what_was_exported_is_imported_and_learnt_from(run: Run, demo: StudyLayout, tmp_path: Path) -> None:
    url, table = f"sqlite:///{demo.root / 'copy.db'}", tmp_path / "old.csv"
    assert run("export", "demo", "--to", f"optuna:{url}").status == 0
    result = run("import", f"optuna:{url}", "-o", str(table))
    assert result.out.startswith(f"{table}: 5 trials; columns: trial, state, bs, lr, eval_loss\n"), result.err
    assert table.read_text().splitlines()[1] == "0,COMPLETE,1,1e-05,1.5"
    study = tmp_path / "next.yaml"
    study.write_text(demo.spec().read_text().replace("seed: 1}", f"seed: 1, warm_start: [{{csv: {table}}}]}}"))
    checked = run("check", str(study), "--set", "search.algorithm=tpe", "--set", "name=next")
    assert (checked.status, "5 trials" in checked.out + checked.err) == (0, True), checked.err


@pytest.mark.usefixtures("demo")
def test_an_mlflow_experiment_is_imported(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason="MLflow is not installed")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert run("export", "demo", "--to", f"mlflow:{uri}").status == 0
    table = tmp_path / "old.csv"
    result = run("import", f"mlflow:{uri}#demo", "-o", str(table))
    assert result.out.startswith(f"{table}: 5 trials; columns: trial, state, "), result.err
    head, *rows = [line.split(",") for line in table.read_text().splitlines()]
    found = sorted((float(row[head.index("lr")]), float(row[head.index("objective.eval_loss")])) for row in rows)
    assert found == [(1e-05, 1.5), (2.5e-4, 1.0), (1e-3, 0.75), (0.25, 0.25), (0.5, 0.9)]
    assert {row[head.index("state")] for row in rows} == {"FINISHED"}


@pytest.mark.parametrize(
    ("source", "status", "error"),
    [
        ("wandb:me/project", 2, "'wandb:me/project' is not one of optuna:URL[#STUDY]"),
        ("optuna", 2, "is not one of optuna:URL"),
        ("optuna:sqlite:///empty.db#x", 2, "which study of sqlite:///empty.db? Add #STUDY; there are: it has none"),
        ("optuna:sqlite:////nowhere/x.db", 1, "cannot be read: "),
    ],
)
def test_a_source_that_cannot_be_read_says_why(run: Run, tmp_path: Path, source: str, status: int, error: str) -> None:
    run.monkeypatch.chdir(tmp_path)
    result = run("import", source, "-o", "t.csv")
    assert (result.status, error in " ".join(result.err.split())) == (status, True), result.err
    assert not (tmp_path / "t.csv").exists()
