"""Builds the best configurations as plain data, and exports them as YAML files that other tools read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hposlurm.errors import RequestError, StudyError
from hposlurm.records.ancestry import Leg, legs
from hposlurm.records.history import History
from hposlurm.records.ranking import ranked
from hposlurm.records.reading import read_whole
from hposlurm.records.values import counted_value
from hposlurm.report import output
from hposlurm.report.tables import StudyResults
from hposlurm.trial import Params, Trial, TrialState, latest_metrics


def best_trials(results: StudyResults, top: int) -> list[Trial]:
    """Returns the `top` best completed trials. Raises StudyError if none has completed."""
    order = ranked(results.history.trials, results.objectives, results.limits)
    if not order:
        raise StudyError(f"study {results.name!r} has no completed trial yet ({_counted(results.history)})")
    return order[:top]


def _counted(history: History) -> str:
    counts = history.counts()
    return ", ".join(f"{counts[state]} {state}" for state in TrialState if counts[state]) or "it has no trials"


@dataclass(frozen=True, slots=True)
class Configuration:
    """The result of a completed trial."""

    study: str
    trial: int
    params: Params
    #: by objective
    values: Mapping[str, float]
    #: the last reported value of each, of the objectives too
    metrics: Mapping[str, float | str]
    signature: str
    #: what the command found as its seed
    seed: int
    #: seconds
    runtime: float | None
    gpu_hours: float
    #: the limits on measured metrics that it breaks; not empty only if no completed trial keeps all limits
    broken: tuple[str, ...] = ()
    #: by objective: the step at which its value was reported, None if unknown
    steps: Mapping[str, int | None] = field(default_factory=dict)
    #: the checkpoint that was saved at the step of the first objective's value, as its training reported it
    checkpoint: str | None = None
    #: of a copy of another trial: the parameters from each step on; empty if they never changed
    schedule: tuple[Leg, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Returns the same data with stable keys, for programs."""
        return asdict(self)


def configuration(results: StudyResults, trial: Trial) -> Configuration:
    """Returns the configuration of a completed trial."""
    line = legs(results.history, trial)
    found = {o.metric: counted_value(trial.attempts, o.metric, o.rule) for o in results.objectives}
    steps = {name: counted.step if counted is not None else None for name, counted in found.items()}
    return Configuration(
        study=results.name,
        trial=trial.number,
        params=dict(trial.params),
        values=dict(zip((o.metric for o in results.objectives), trial.values or (), strict=True)),
        metrics=latest_metrics(trial.attempts),
        signature=trial.signature,
        seed=_command_seed(results, trial),
        runtime=trial.runtime_s,
        gpu_hours=trial.gpu_hours,
        broken=results.limits.complaints(trial.params, trial.known_metrics),
        steps=steps,
        checkpoint=_checkpoint_at(trial, steps[results.objectives[0].metric]),
        schedule=line if len(line) > 1 else (),
    )


def _checkpoint_at(trial: Trial, step: int | None) -> str | None:
    saved = [path for attempt in trial.attempts for at, path in attempt.checkpoints if at == step]
    return saved[-1] if saved else None


def _command_seed(results: StudyResults, trial: Trial) -> int:
    plans = results.history.plans
    seed = plans[trial.wave].command_seed if trial.wave < len(plans) else None
    return trial.seed if seed is None else seed


def export(path: Path, found: Configuration, *, force: bool = False) -> None:
    """Writes `found` to `path` as YAML, atomically.

    An earlier export of the same study is replaced, because later trials may be better. Raises RequestError if any
    other file exists at `path` and `force` is not given, or if the directory does not exist.
    """
    import yaml

    output.check_writable(path)
    text = yaml.safe_dump(found.to_json(), sort_keys=False, allow_unicode=True).encode()
    if force or output.is_special(path) or _is_export_of(path, found.study):
        output.write(path, text)
    elif not output.create(path, text):
        raise RequestError(f"{path} exists and is not an export of study {found.study!r}; --force replaces it")


def _is_export_of(path: Path, study: str) -> bool:
    import yaml

    try:
        known = yaml.safe_load(read_whole(path))
    except (OSError, ValueError, yaml.YAMLError):
        return False
    return isinstance(known, dict) and known.get("study") == study and {"trial", "params", "signature"} <= known.keys()
