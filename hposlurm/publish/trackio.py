"""Writes results for Trackio, as fragments that its dashboard and `trackio sync` import. Needs no Trackio here.

A fragment is an immutable file of JSON lines in TRACKIO_DIR/inbox (trackio/fragments.py, version 1 of the format, in
Trackio 0.43): what Trackio itself writes on network file systems, where its SQLite file would be damaged. Each line has
an id, and an id that is known already is not imported again.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hposlurm.publish.base import Published
from hposlurm.publish.cursor import Cursor, TrialNews, digest_of
from hposlurm.publish.identity import STUDY_KEY, TRIAL_KEY, study_id, trial_id
from hposlurm.records import files
from hposlurm.records.history import History
from hposlurm.report.labels import labels_of
from hposlurm.spec.publishing import TrackioOptions

_VERSION = 1
# Names that Trackio keeps for itself get two underscores before them (trackio/run.py)
_RESERVED = frozenset({"project", "run", "timestamp", "step", "time"})
_DEFAULT_DIRECTORY = "~/.cache/huggingface/trackio"


class Trackio:
    """Writes one fragment with all that is new. Raises OSError."""

    def __init__(self, options: TrackioOptions) -> None:
        self._options = options

    def publish(self, study: Published, cursor: Cursor, /) -> None:
        history, labels = study.history, labels_of(study.history.trials)
        project = self._options.project or study.spec.name
        records = [
            record
            for news in cursor.news(history)
            for record in _records(history, news, project, labels[news.trial.number])
        ]
        if not records:
            return
        inbox = directory_of(self._options.dir) / "inbox" / f"hposlurm-{study_id(history)}"
        inbox.mkdir(parents=True, exist_ok=True)
        content = b"".join(json.dumps(record, allow_nan=False).encode() + b"\n" for record in records)
        files.publish(inbox / f"{uuid.uuid4().hex}.jsonl", content)


def directory_of(given: str | None) -> Path:
    """Returns Trackio's directory: the given one, $TRACKIO_DIR, or its default."""
    return Path(given or os.environ.get("TRACKIO_DIR") or _DEFAULT_DIRECTORY).expanduser()


def _records(history: History, news: TrialNews, project: str, label: str) -> Iterator[dict[str, Any]]:
    trial, run_id = news.trial, trial_id(history, news.trial)
    config = {**trial.params, STUDY_KEY: study_id(history), TRIAL_KEY: trial.number, "hposlurm.state": str(trial.state)}
    base = {"v": _VERSION, "kind": "metric", "project": project, "run": label, "run_id": run_id, "config": config}
    for attempt, report in news.reports:
        metrics = {_key(name): value for name, value in report.metrics.items()}
        identity = f"{run_id}-{attempt.number}-{report.number}"
        yield {**base, **_entry(metrics, report.step, report.time, identity)}
    if news.is_changed and trial.state.is_finished:
        step = trial.reports[-1].step if trial.reports else 0
        metrics = {
            f"objective/{name}": value for name, value in zip(history.objectives, trial.values or (), strict=False)
        }
        metrics |= {"gpu_hours": trial.gpu_hours, "attempts": len(trial.attempts)}
        ended = max((a.ended_at for a in trial.attempts if a.ended_at), default=0.0)
        identity = f"{run_id}-end-{digest_of([str(trial.state), list(trial.values or ()), len(trial.attempts)])}"
        yield {**base, **_entry(metrics, step, ended, identity)}


def _entry(metrics: dict[str, Any], step: int, time: float, identity: str) -> dict[str, Any]:
    when = datetime.fromtimestamp(time, UTC).isoformat()
    return {"metrics": metrics, "step": step, "timestamp": when, "log_id": identity}


def _key(name: str) -> str:
    return f"__{name}" if name in _RESERVED or name.startswith("__") else name
