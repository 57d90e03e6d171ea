"""Publishing to real servers, which are killed in the middle: nothing is missing then, and nothing there twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import RDBStorage

from hposlurm.publish.optuna import close_storage, open_storage
from tests.publish.results import begun, grown, publish, reported
from tests.publish.servers import PASSWORD, Server, mariadb, mlflow_server, postgres
from tests.publish.test_mlflow import Server as Tracker

__all__ = ["mariadb", "mlflow_server", "postgres"]
pytestmark = [pytest.mark.services, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


def optuna_setting(url: str) -> str:
    return f"[{{optuna: {{storage: '{url}'}}}}]"


@pytest.mark.parametrize("kind", ["postgres", "mariadb"])
def test_a_database_that_is_killed_in_the_middle_is_caught_up(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, url = request.getfixturevalue(kind)
    layout = begun(tmp_path)
    (failure,) = publish(layout, optuna_setting(url))
    assert failure.startswith("optuna: not published: ") and PASSWORD not in failure  # no password yet
    monkeypatch.setenv("HPOSLURM_DB_PASSWORD", PASSWORD)
    assert publish(layout, optuna_setting(url)) == ()
    grown(layout)
    with monkeypatch.context() as patch:
        kill_before(patch, RDBStorage, "create_new_trial", server, calls=1)
        (failure,) = publish(layout, optuna_setting(url))
    assert failure.startswith("optuna: not published: ") and PASSWORD not in failure
    (failure,) = publish(layout, optuna_setting(url))  # it is still away
    assert failure
    server.start()
    assert publish(layout, optuna_setting(url)) == ()
    storage = open_storage(url, tmp_path)
    study = optuna.load_study(study_name="demo", storage=storage)
    found = {trial.user_attrs["hposlurm.trial"]: trial.intermediate_values for trial in study.trials}
    assert len(found) == len(study.trials) == 5
    assert found == {number: dict(pairs) for number, pairs in reported(layout).items()}
    assert (study.best_trial.user_attrs["hposlurm.trial"], study.best_value) == (4, 0.25)
    close_storage(storage)


def kill_before(patch: pytest.MonkeyPatch, owner: Any, method: str, server: Server, *, calls: int) -> None:
    """Kills the server before the call after `calls` calls of a method."""
    real, count = getattr(owner, method), [0]

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if count[0] == calls:
            server.kill()
        count[0] += 1
        return real(self, *args, **kwargs)

    patch.setattr(owner, method, call)


def test_an_mlflow_server_that_is_killed_in_the_middle_is_caught_up(
    mlflow_server: tuple[Server, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    server, uri = mlflow_server
    layout, setting = begun(tmp_path), f"[{{mlflow: {{uri: '{uri}'}}}}]"
    with monkeypatch.context() as patch:
        kill_before(patch, mlflow.MlflowClient, "log_batch", server, calls=4)
        (failure,) = publish(layout, setting)
    assert failure.startswith("mlflow: not published: ")
    server.start()
    assert publish(layout, setting) == ()
    grown(layout)
    assert publish(layout, setting) == ()
    found = Tracker(uri)
    assert {run.info.status for run in found.children.values()} == {"FINISHED"}
    for number, pairs in reported(layout).items():
        assert [pair for pair in found.history(number) if pair[1] == pair[1]] == pairs
    assert found.parent.info.status == "FINISHED"
