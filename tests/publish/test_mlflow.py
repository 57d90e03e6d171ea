"""What MLflow holds afterwards, as its own client sees it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from hposlurm.records.layout import StudyLayout
from tests.publish.results import PARAMS, begun, grown, publish, reported

mlflow = pytest.importorskip("mlflow", reason="MLflow is not installed: pip install -e '.[trackers]'")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the library's own


@pytest.fixture(scope="module")
def server_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty SQLite file with MLflow's tables: creating them takes longer than all tests."""
    path = tmp_path_factory.mktemp("mlflow") / "empty.db"
    mlflow.MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def uri(server_file: Path, tmp_path: Path) -> str:
    (tmp_path / "mlflow.db").write_bytes(server_file.read_bytes())
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


def setting(uri: str) -> str:
    return f"[{{mlflow: {{uri: '{uri}'}}}}]"


class Server:
    def __init__(self, uri: str) -> None:
        self.client = mlflow.MlflowClient(tracking_uri=uri)
        experiment = self.client.get_experiment_by_name("demo")
        runs = self.client.search_runs([experiment.experiment_id], max_results=100)
        (self.parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
        self.children = {int(r.data.tags["hposlurm.trial"]): r for r in runs if r is not self.parent}
        assert len(self.children) == len(runs) - 1

    def history(self, number: int, metric: str = "eval_loss") -> list[tuple[int, float]]:
        found = self.client.get_metric_history(self.children[number].info.run_id, metric)
        return [(each.step, each.value) for each in sorted(found, key=lambda each: (each.step, each.timestamp))]


def test_every_value_that_went_in_comes_back(tmp_path: Path, uri: str) -> None:
    layout = begun(tmp_path)
    assert publish(layout, setting(uri)) == ()
    server = Server(uri)
    assert {n: run.info.status for n, run in server.children.items()} == {
        0: "FINISHED",
        1: "FINISHED",
        2: "RUNNING",
        3: "SCHEDULED",
        4: "SCHEDULED",
    }
    assert server.children[1].data.params == {name: str(value) for name, value in PARAMS[1].items()}
    assert server.children[1].info.run_name == "1 bs=2 lr=0.00025"
    assert {run.data.tags["mlflow.parentRunId"] for run in server.children.values()} == {server.parent.info.run_id}
    for number, pairs in reported(layout).items():
        assert [pair for pair in server.history(number) if not math.isnan(pair[1])] == pairs
    assert math.isnan(server.history(2)[0][1])
    assert server.history(0, "f1") == [(1, 0.5), (2, 0.5), (3, 0.5)]
    assert server.history(1, "objective.eval_loss") == [(2, 1.0)]
    assert server.children[0].data.tags["hposlurm.log"].endswith("_log.out")


def test_twice_is_as_once_and_what_is_new_is_added(tmp_path: Path, uri: str) -> None:
    layout = begun(tmp_path)
    publish(layout, setting(uri))
    layout.publication("mlflow").unlink()  # everything is sent again
    publish(layout, setting(uri))
    before = Server(uri)
    assert len(before.children) == 5
    assert before.history(0) == reported(layout)[0]
    grown(layout)
    assert publish(layout, setting(uri)) == ()
    after = Server(uri)
    assert {run.info.status for run in after.children.values()} == {"FINISHED"}
    assert {n: run.info.run_id for n, run in after.children.items()} == {
        n: run.info.run_id for n, run in before.children.items()
    }
    assert after.parent.info.status == "FINISHED"
    assert after.parent.data.tags["hposlurm.finished"] == "5 of 5 trials are done"
    assert after.history(4) == reported(layout)[4]


def test_a_server_that_is_away_is_a_note_and_is_caught_up(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    layout = begun(tmp_path)
    (failure,) = publish(layout, setting("http://127.0.0.1:9"))
    assert failure.startswith("mlflow: not published: ")
    assert publish(layout, setting(uri)) == ()
    assert len(Server(uri).children) == 5


def test_more_metrics_than_one_batch_takes(tmp_path: Path, uri: str) -> None:
    layout = wide(tmp_path)
    assert publish(layout, setting(uri)) == ()
    assert len(Server(uri).children[0].data.metrics) == 702


def wide(runs: Path) -> StudyLayout:
    from tests.studies import add_wave, completed, make_study, write_journal

    layout = make_study(runs, "demo", n_trials=1)
    add_wave(layout, range(1))
    many = {f"m [{n}]": float(n) for n in range(700)}
    write_journal(layout, 0, completed(0, 1.0, steps=2, **many))
    return layout
