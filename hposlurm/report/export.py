"""The best configurations as plain data, and their export as a YAML file that other tools read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hposlurm.errors import RequestError, StudyError
from hposlurm.records.ancestry import Leg, legs
from hposlurm.records.fold import latest_metrics
from hposlurm.records.history import History, metrics_with_peaks, ranked
from hposlurm.report import output
from hposlurm.report.tables import StudyResults
from hposlurm.trial import Params, Trial, TrialState


def best_trials(results: StudyResults, top: int) -> list[Trial]:
    """The `top` best completed trials. Raises StudyError if none has completed."""
    order = ranked(results.history.trials, results.objectives, results.limits)
    if not order:
        raise StudyError(f"study {results.name!r} has no completed trial yet ({_counted(results.history)})")
    return order[:top]


def _counted(history: History) -> str:
    counts = history.counts()
    return ", ".join(f"{counts[state]} {state}" for state in TrialState if counts[state]) or "it has no trials"


@dataclass(frozen=True, slots=True)
class Configuration:
    """A completed trial as people pass it on: `values` by objective, `metrics` the last of each, `runtime` in s.

    `broken` are the limits on measured metrics that it breaks; then no completed trial keeps them all. `schedule` says
    how a copy of another trial came about: the parameters from each step on; it is empty where they never changed.
    """

    study: str
    trial: int
    params: Params
    values: Mapping[str, float]
    metrics: Mapping[str, float | str]
    signature: str
    seed: int
    runtime: float | None
    gpu_hours: float
    broken: tuple[str, ...] = ()
    schedule: tuple[Leg, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The same with stable keys for programs."""
        return asdict(self)


def configuration(results: StudyResults, trial: Trial) -> Configuration:
    """What is passed on of a completed trial."""
    line = legs(results.history, trial)
    return Configuration(
        study=results.name,
        trial=trial.number,
        params=dict(trial.params),
        values=dict(zip((o.metric for o in results.objectives), trial.values or (), strict=True)),
        metrics=latest_metrics(trial.attempts),
        signature=trial.signature,
        seed=trial.seed,
        runtime=trial.runtime_s,
        gpu_hours=trial.gpu_hours,
        broken=results.limits.complaints(trial.params, metrics_with_peaks(trial)),
        schedule=line if len(line) > 1 else (),
    )


def export(path: Path, found: Configuration, *, force: bool = False) -> None:
    """Writes `found` to `path` as YAML, a file whole or not at all.

    An earlier export of the same study is replaced: more trials may have found a better one. Raises RequestError if
    anything else is there, unless `force`, or if the directory is not.
    """
    import yaml

    output.check_writable(path)
    text = yaml.safe_dump(found.to_json(), sort_keys=False, allow_unicode=True).encode()
    if force or output.is_special(path) or _is_export_of(path, found.study):
        output.write(path, text)
    elif not output.create(path, text):
        raise RequestError(f"{path} exists and is no export of study {found.study!r}; --force replaces it")


def _is_export_of(path: Path, study: str) -> bool:
    import yaml

    try:
        known = yaml.safe_load(path.read_bytes())
    except (OSError, ValueError, yaml.YAMLError):
        return False
    return isinstance(known, dict) and known.get("study") == study and {"trial", "params", "signature"} <= known.keys()
