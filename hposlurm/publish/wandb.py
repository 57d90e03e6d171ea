"""Writes results as runs of Weights & Biases: offline directories that `wandb sync` sends, or online with a key.

A run per trial, found by its id, and a directory per attempt: offline runs with one id in one directory overwrite each
other (wandb/wandb issue 3841). An attempt is written once it has ended, and never again.
"""

from __future__ import annotations

import os
import shlex
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from hposlurm.errors import StudyError
from hposlurm.publish.base import Published
from hposlurm.publish.cursor import Cursor
from hposlurm.publish.identity import STUDY_KEY, TRIAL_KEY, number_of, study_id, trial_id
from hposlurm.records import files
from hposlurm.report.labels import labels_of
from hposlurm.spec.publishing import WandbOptions
from hposlurm.trial import Attempt, Outcome, Trial

_DIRECTORY = "wandb"
_HOW_TO = "how-to-sync.txt"
# No thread of it measures this machine, asks a server or prints
_QUIET: dict[str, Any] = {
    "silent": True,
    "console": "off",
    "disable_git": True,
    "disable_code": True,
    "x_disable_stats": True,
    "x_disable_meta": True,
}


class Wandb:
    """Writes the attempts that have ended since the last time. Raises StudyError without the library."""

    def __init__(self, options: WandbOptions) -> None:
        self._options = options

    def publish(self, study: Published, cursor: Cursor, /) -> None:
        ended = tuple(_ended(trial) for trial in study.history.trials)
        whole = replace(study.history, trials=tuple(trial for trial in ended if trial.attempts))
        directory = study.layout.root / (self._options.dir or _DIRECTORY)
        labels = labels_of(study.history.trials)
        for news in cursor.news(whole):
            for attempt in news.trial.attempts:
                self._write(study, news.trial, attempt, labels[news.trial.number], directory)

    def _write(self, study: Published, trial: Trial, attempt: Attempt, label: str, directory: Path) -> None:
        """Writes one attempt beside its place, and renames it there; does nothing if it is there already."""
        place = directory / f"trial-{trial.number:05d}" / f"attempt-{attempt.number}"
        if place.exists():
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{place.name}.", dir=place.parent) as beside:
            inner = Path(beside) / "run"
            inner.mkdir()
            self._log(study, trial, attempt, label, inner)
            inner.rename(place)
        files.publish(directory / _HOW_TO, how_to_sync(directory).encode(), is_durable=False)

    def _log(self, study: Published, trial: Trial, attempt: Attempt, label: str, directory: Path) -> None:
        wandb = _library()
        run = wandb.init(
            project=self._options.project or study.spec.name,
            entity=self._options.entity,
            id=trial_id(study.history, trial),
            name=label,
            group=study_id(study.history),
            job_type="trial",
            tags=[f"{name}:{text}"[:64] for name, text in study.spec.tags.items()],
            config={**trial.params, STUDY_KEY: study_id(study.history), TRIAL_KEY: trial.number},
            dir=str(directory),
            mode=self._options.mode,
            resume="allow",
            reinit="create_new",
            settings=wandb.Settings(**_QUIET),
        )
        run.define_metric("trial_step")
        run.define_metric("*", step_metric="trial_step")
        for report in attempt.reports:
            numbers = {n: number for n, v in report.metrics.items() if (number := number_of(v)) is not None}
            run.log({**numbers, "trial_step": report.step, "_timestamp": report.time})
        values = zip(study.history.objectives, trial.values or (), strict=False)
        run.summary.update({f"objective/{name}": value for name, value in values})
        run.summary.update({"state": str(trial.state), "attempt": attempt.number, "gpu_hours": trial.gpu_hours})
        run.finish(exit_code=0 if attempt.outcome in (Outcome.COMPLETE, Outcome.PRUNED) else 1)


def _ended(trial: Trial) -> Trial:
    attempts = tuple(a for a in trial.attempts if a.outcome is not None and a.number >= 0 and a.reports)
    return replace(trial, attempts=attempts)


def _library() -> Any:
    try:
        # a planner's job may have no home and no network; neither is needed offline
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb
    except ImportError as error:
        raise StudyError(f"W&B is not installed here ({error}); pip install wandb") from None
    return wandb


def how_to_sync(directory: Path) -> str:
    """Returns the line that sends all offline runs with the installed version, from a machine with a network."""
    import wandb

    runs = f"{shlex.quote(str(directory))}/trial-*/attempt-*/wandb/offline-run-*"
    return f"# wandb {wandb.__version__}; needs WANDB_API_KEY or `wandb login`\nwandb sync --yes -n 5 {runs}\n"
