"""Sends results to an MLflow server (or its SQLite file): a parent run for the study, a child run for each trial.

Through the client's API, never through its file store: since MLflow 3.13 that raises by default.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hposlurm.errors import StudyError
from hposlurm.publish.base import Published
from hposlurm.publish.cursor import Cursor, TrialNews
from hposlurm.publish.identity import STUDY_KEY, TRIAL_KEY, number_of, study_id
from hposlurm.report.labels import labels_of
from hposlurm.report.numbers import shorten
from hposlurm.spec.publishing import MlflowOptions
from hposlurm.trial import ParamValue, Trial, TrialState, param_text

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

# Limits of MlflowClient.log_batch (mlflow/utils/validation.py, 3.17)
_METRICS_AT_ONCE, _PARAMS_AT_ONCE, _TAGS_AT_ONCE = 1000, 100, 100
_LONGEST_PARAM, _LONGEST_TAG = 6000, 5000
# What MLflow allows in the name of a metric or parameter
_NOT_ALLOWED = re.compile(r"[^/\w.\- :]")
_PARENT = "mlflow.parentRunId"
_STATUS: Mapping[TrialState, str] = {
    TrialState.WAITING: "SCHEDULED",
    TrialState.PAUSED: "SCHEDULED",
    TrialState.RUNNING: "RUNNING",
    TrialState.COMPLETE: "FINISHED",
    TrialState.PRUNED: "KILLED",
    TrialState.FAIL: "FAILED",
}
# A server that does not answer must not hold a planner's job: 3.17 waits 120 s and tries 7 times by default.
_PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "20", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}


class Mlflow:
    """Sends new results. Raises StudyError if MLflow is not installed; its client may raise anything."""

    def __init__(self, options: MlflowOptions) -> None:
        self._options = options

    def publish(self, study: Published, cursor: Cursor, /) -> None:
        news = cursor.news(study.history)
        first = next(news, None)
        if first is None and not study.history.finished:
            return
        runs = _Runs(mlflow_client(self._options.uri), self._options.experiment or study.spec.name, study)
        if first is not None:
            runs.send(first)
        for each in news:
            runs.send(each)
        runs.send_study()


def mlflow_client(given: str | None) -> MlflowClient:
    """Returns a client of the server at `given`, or at $MLFLOW_TRACKING_URI. Raises StudyError without either."""
    uri = given or os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:
        raise StudyError("no server is named: give its uri in publish, or export MLFLOW_TRACKING_URI")
    for name, value in _PATIENCE.items():
        os.environ.setdefault(name, value)
    try:
        from mlflow import MlflowClient
    except ImportError as error:
        raise StudyError(f"MLflow is not installed here ({error}); pip install mlflow-skinny sqlalchemy") from None
    return MlflowClient(tracking_uri=uri)


class _Runs:
    """The study's runs in one experiment."""

    def __init__(self, client: MlflowClient, experiment: str, study: Published) -> None:
        self._client, self._study = client, study
        found = client.get_experiment_by_name(experiment)
        self._experiment: str = client.create_experiment(experiment) if found is None else found.experiment_id
        self._parent = self._find_parent()
        self._children = dict(self._known_children())
        self._labels = labels_of(study.history.trials)

    def _find_parent(self) -> str:
        identity = study_id(self._study.history)
        known = self._client.search_runs([self._experiment], f"tags.`{STUDY_KEY}` = '{identity}'", max_results=1)
        if known:
            return str(known[0].info.run_id)
        first = self._study.history.plans[0]
        tags = {
            STUDY_KEY: identity,
            "hposlurm.algorithm": self._study.spec.search.name,
            "hposlurm.directory": str(self._study.layout.root),
            **{f"tag.{name}": text for name, text in self._study.spec.tags.items()},
        }
        run = self._client.create_run(self._experiment, _ms(first.created_at), tags, self._study.spec.name)
        return str(run.info.run_id)

    def _known_children(self) -> Iterator[tuple[int, str]]:
        """Yields number and run of each trial that the server knows."""
        token = None
        while True:
            page = self._client.search_runs(
                [self._experiment], f"tags.`{_PARENT}` = '{self._parent}'", max_results=1000, page_token=token
            )
            for run in page:
                number = run.data.tags.get(TRIAL_KEY, "")
                if number.isascii() and number.isdigit():
                    yield int(number), str(run.info.run_id)
            token = page.token
            if not token:
                return

    def send(self, news: TrialNews) -> None:
        """Sends what is new of one trial."""
        trial = news.trial
        run = self._children.get(trial.number) or self._create(trial)
        if news.is_changed:
            self._send_facts(run, trial)
        self._send_metrics(run, list(_metrics(news)))
        if news.is_changed:
            self._send_state(run, trial)

    def _create(self, trial: Trial) -> str:
        started = min((a.started_at for a in trial.attempts if a.started_at), default=0.0)
        tags = {_PARENT: self._parent, TRIAL_KEY: str(trial.number)}
        run = self._client.create_run(self._experiment, _ms(started) or None, tags, self._labels[trial.number])
        self._children[trial.number] = str(run.info.run_id)
        return self._children[trial.number]

    def _send_facts(self, run: str, trial: Trial) -> None:
        from mlflow.entities import Param, RunTag

        params = [Param(_name(k), shorten(_text(v), _LONGEST_PARAM)) for k, v in trial.params.items()]
        for chunk in _chunks(params, _PARAMS_AT_ONCE):
            self._client.log_batch(run, params=chunk)
        tags = [RunTag(k, shorten(v, _LONGEST_TAG)) for k, v in _tags(self._study, trial).items() if v]
        for chunk in _chunks(tags, _TAGS_AT_ONCE):
            self._client.log_batch(run, tags=chunk)

    def _send_metrics(self, run: str, metrics: list[Metric]) -> None:
        for chunk in _chunks(metrics, _METRICS_AT_ONCE):
            self._client.log_batch(run, metrics=chunk)

    def _send_state(self, run: str, trial: Trial) -> None:
        from mlflow.entities import Metric

        ended = max((a.ended_at for a in trial.attempts if a.ended_at), default=None)
        if trial.state is TrialState.COMPLETE and trial.values is not None:
            at, step = _ms(ended or 0.0), trial.reports[-1].step if trial.reports else 0
            values = zip(self._study.history.objectives, trial.values, strict=False)
            self._send_metrics(run, [Metric(_name(f"objective.{name}"), value, at, step) for name, value in values])
        if trial.state.is_finished:
            self._client.set_terminated(run, _STATUS[trial.state], _ms(ended) if ended else None)
        else:
            self._client.update_run(run, _STATUS[trial.state])

    def send_study(self) -> None:
        """Sends what is known of the study as a whole."""
        history = self._study.history
        self._client.set_tag(self._parent, "hposlurm.trials", str(len(history.trials)))
        self._client.set_tag(self._parent, "hposlurm.gpu_hours", f"{history.gpu_hours:.6g}")
        if history.finished:
            self._client.set_tag(self._parent, "hposlurm.finished", shorten(history.finished, _LONGEST_TAG))
            self._client.set_terminated(self._parent, "FINISHED", _ms(history.plans[-1].created_at))


def _tags(study: Published, trial: Trial) -> dict[str, str]:
    """Returns the tags of a trial's run; logs and checkpoints are there by reference."""
    last = trial.attempts[-1] if trial.attempts else None
    found = {
        "hposlurm.state": str(trial.state),
        "hposlurm.wave": str(trial.wave),
        "hposlurm.attempts": str(len(trial.attempts)),
        "hposlurm.gpu_hours": f"{trial.gpu_hours:.6g}",
        "hposlurm.seed": str(trial.seed),
        "hposlurm.reason": trial.reason,
        "hposlurm.directory": str(study.layout.trial(trial.number).root),
    }
    if last is not None:
        found |= {"hposlurm.node": last.host, "hposlurm.job": last.job_id}
        found["hposlurm.log"] = str(study.layout.root / last.log) if last.log else ""
        found["mlflow.source.git.commit"] = last.git_commit or ""
        saved = [path for attempt in trial.attempts for _, path in attempt.checkpoints]
        found["hposlurm.checkpoint"] = saved[-1] if saved else ""
    return found


def _metrics(news: TrialNews) -> Iterator[Metric]:
    from mlflow.entities import Metric

    for _, report in news.reports:
        for name, value in report.metrics.items():
            if (number := number_of(value)) is not None:
                yield Metric(_name(name), number, _ms(report.time), report.step)


def _chunks(items: list[Any], size: int) -> Iterator[list[Any]]:
    yield from (items[i : i + size] for i in range(0, len(items), size))


def _text(value: ParamValue) -> str:
    """Returns a parameter's text: floats as Python writes them, since MLflow refuses to change it."""
    return str(value) if isinstance(value, float) else param_text(value)


def _name(name: str) -> str:
    return _NOT_ALLOWED.sub("_", name)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
