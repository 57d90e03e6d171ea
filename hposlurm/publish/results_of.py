"""Reads the results of other programs through their own readers, as rows that `search.warm_start` takes as a CSV."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hposlurm.errors import RequestError, StudyError
from hposlurm.publish.mlflow import mlflow_client
from hposlurm.publish.optuna import close_storage, open_storage
from hposlurm.trial import ParamValue

Row = dict[str, ParamValue]
#: What can be read, and how it is written.
SOURCES = {
    "optuna": "optuna:URL[#STUDY], e.g. optuna:sqlite:///old.db",
    "mlflow": "mlflow:URI#EXPERIMENT, e.g. mlflow:http://host:5000#bert",
}
_AT_ONCE = 1000  # runs in one answer of an MLflow server


def read_results(source: str) -> list[Row]:
    """Returns a row per trial: its number, its state in the other program's word, parameters and last metrics.

    Raises RequestError for a source that is not one of `SOURCES`, or that has no such study; StudyError if its library
    is missing. The library itself may raise anything.
    """
    kind, _, place = source.partition(":")
    if kind not in SOURCES or not place:
        raise RequestError(f"{source!r} is not one of {'; '.join(SOURCES.values())}")
    url, _, name = place.partition("#")
    return list(_optuna(url, name) if kind == "optuna" else _mlflow(url, name))


def _optuna(url: str, name: str) -> Iterator[Row]:
    import optuna

    storage = open_storage(url, Path.cwd())
    try:
        names = optuna.get_all_study_names(storage)
        if not name and len(names) == 1:
            name = names[0]
        if name not in names:
            known = ", ".join(names) or "it has none"
            raise RequestError(f"which study of {url}? Add #STUDY; there are: {known}")
        study = optuna.load_study(study_name=name, storage=storage)
        count = len(study.directions)
        metrics = study.metric_names or (["value"] if count == 1 else [f"values_{i}" for i in range(count)])
        for trial in study.get_trials(deepcopy=False):
            values = dict(zip(metrics, trial.values or (), strict=False))
            yield {"trial": trial.number, "state": trial.state.name, **trial.params, **values}
    finally:
        close_storage(storage)


def _mlflow(uri: str, name: str) -> Iterator[Row]:
    client = mlflow_client(uri)
    experiment = client.get_experiment_by_name(name) if name else None
    if experiment is None:
        known = ", ".join(sorted(each.name for each in client.search_experiments(max_results=_AT_ONCE)))
        raise RequestError(f"which experiment of {uri}? Add #EXPERIMENT; there are: {known or 'none'}")
    token, number = None, 0
    while True:
        page = client.search_runs([experiment.experiment_id], max_results=_AT_ONCE, page_token=token)
        for run in page:
            if run.data.params or run.data.metrics:  # a parent run has neither
                yield {"trial": number, "state": run.info.status, **_cells(run.data.params), **run.data.metrics}
                number += 1
        token = page.token
        if not token:
            return


def _cells(params: dict[str, Any]) -> Row:
    return {name: str(value) for name, value in params.items()}


def columns_of(rows: list[Row]) -> tuple[str, ...]:
    """Returns the names of all cells, in the order of their first appearance. Raises StudyError for no rows."""
    if not rows:
        raise StudyError("there are no trials in it")
    return tuple(dict.fromkeys(name for row in rows for name in row))
