"""Puts the trials of a study into columns: the table of the page, and what most of its figures are drawn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hposlurm.records.history import History
from hposlurm.records.ranking import ranked
from hposlurm.report.page.shortening import Indexed, indexed, short, short_or_none
from hposlurm.report.printable import printable
from hposlurm.report.results import TrialResult, result_of
from hposlurm.space import CategoricalParameter, Parameter
from hposlurm.trial import Direction, Objective, Trial, TrialState, is_finite, param_text

if TYPE_CHECKING:
    from hposlurm.space.metric_constraints import Limits

# More columns than a person looks through; study.db has every metric
_MOST_METRICS = 30
_LONGEST_REASON = 300

Numbers = tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class ParameterColumn:
    """A parameter: its axis, and its value in each trial."""

    name: str
    #: "number" or "choice"
    kind: str
    #: the range that was searched; None for choices
    low: float | None
    high: float | None
    is_log: bool
    #: True if it is active under a condition only
    is_conditional: bool
    #: the text of each choice
    choices: tuple[str, ...]
    #: the number, or the index of the choice; None where it is inactive
    rows: Numbers


@dataclass(frozen=True, slots=True)
class ObjectiveColumns:
    """An objective: which value counts, the best one with its step, and the final one of each trial."""

    name: str
    is_minimized: bool
    #: "best" or "last"
    report: str
    counted: Numbers
    best: Numbers
    best_step: tuple[int | None, ...]
    final: Numbers


@dataclass(frozen=True, slots=True)
class MetricColumn:
    """The last value of another metric in each trial."""

    name: str
    rows: Numbers


@dataclass(frozen=True, slots=True)
class TrialColumns:
    """The trials of a study, a tuple per column; times are seconds since the study's first plan."""

    number: tuple[int, ...]
    state: Indexed
    #: the place among the completed trials, from 0; None for other trials
    rank: tuple[int | None, ...]
    parameters: tuple[ParameterColumn, ...]
    objectives: tuple[ObjectiveColumns, ...]
    metrics: tuple[MetricColumn, ...]
    #: how many further metrics have no column
    left_out: int
    wave: tuple[int, ...]
    attempts: tuple[int, ...]
    step: tuple[int | None, ...]
    started: Numbers
    ended: Numbers
    runtime_s: Numbers
    gpu_hours: Numbers
    node: Indexed
    reason: Indexed
    #: where the point came from
    origin: Indexed


def trial_columns(
    history: History, objectives: Sequence[Objective], parameters: Sequence[Parameter], limits: Limits, begin: float
) -> TrialColumns:
    """Returns the columns of all trials; `begin` is the epoch second at which times start."""
    trials = history.trials
    results = [result_of(trial, objectives) for trial in trials]
    places = {trial.number: place for place, trial in enumerate(ranked(trials, objectives, limits))}
    goals = {objective.metric for objective in objectives}
    seen = [name for name in dict.fromkeys(name for each in results for name in each.last) if name not in goals]
    return TrialColumns(
        number=tuple(trial.number for trial in trials),
        state=indexed(str(trial.state) for trial in trials),
        rank=tuple(places.get(trial.number) for trial in trials),
        parameters=tuple(_parameter(parameter, trials) for parameter in parameters),
        objectives=tuple(_objective(i, objective, trials, results) for i, objective in enumerate(objectives)),
        metrics=tuple(
            MetricColumn(printable(name), tuple(short_or_none(each.last.get(name)) for each in results))
            for name in seen[:_MOST_METRICS]
        ),
        left_out=max(0, len(seen) - _MOST_METRICS),
        wave=tuple(trial.wave for trial in trials),
        attempts=tuple(len(trial.attempts) for trial in trials),
        step=tuple(result.step for result in results),
        started=tuple(_since(begin, first_start(trial)) for trial in trials),
        ended=tuple(_since(begin, last_end(trial)) for trial in trials),
        runtime_s=tuple(short_or_none(trial.runtime_s) for trial in trials),
        gpu_hours=tuple(short(float(trial.gpu_hours)) for trial in trials),
        node=indexed(printable(result.node) if result.node else None for result in results),
        reason=indexed(printable(trial.reason)[:_LONGEST_REASON] or None for trial in trials),
        origin=indexed(printable(str(trial.attrs.get("origin", "unknown"))) for trial in trials),
    )


def first_start(trial: Trial) -> float | None:
    """Returns the epoch second at which the trial first started; None before."""
    return min((a.started_at for a in trial.attempts if a.started_at), default=None)


def last_end(trial: Trial) -> float | None:
    """Returns the epoch second at which a finished trial's last attempt ended; None before, and if it is unknown."""
    if not trial.state.is_finished:
        return None
    return max((a.ended_at for a in trial.attempts if a.ended_at is not None), default=None)


def _since(begin: float, time: float | None) -> float | None:
    return None if time is None else round(time - begin, 1)


def _parameter(parameter: Parameter, trials: Sequence[Trial]) -> ParameterColumn:
    values = [trial.params.get(parameter.name) for trial in trials]
    is_active = [parameter.name in trial.params for trial in trials]
    name, is_conditional = printable(parameter.name), parameter.condition is not None
    if isinstance(parameter, CategoricalParameter) or not all(
        is_finite(value) for value, active in zip(values, is_active, strict=True) if active
    ):
        choices = parameter.choices if isinstance(parameter, CategoricalParameter) else ()
        places = {param_text(choice): place for place, choice in enumerate(choices)}
        # a space that was changed may have had other choices
        rows = tuple(
            places.setdefault(param_text(value), len(places)) if active else None
            for value, active in zip(values, is_active, strict=True)
        )
        texts = tuple(printable(text) for text in places)
        return ParameterColumn(name, "choice", None, None, False, is_conditional, texts, rows)
    numbers = tuple(short_or_none(value) for value in values)
    low, high = short(parameter.low), short(parameter.high)
    return ParameterColumn(name, "number", low, high, parameter.log, is_conditional, (), numbers)


def _objective(
    index: int, objective: Objective, trials: Sequence[Trial], results: Sequence[TrialResult]
) -> ObjectiveColumns:
    counted = [trial.values[index] if trial.values and trial.state is not TrialState.FAIL else None for trial in trials]
    found = [result.best[index] for result in results]
    return ObjectiveColumns(
        name=printable(objective.metric),
        is_minimized=objective.direction is Direction.MINIMIZE,
        report=str(objective.report),
        counted=tuple(map(short_or_none, counted)),
        best=tuple(short(each.value) if each else None for each in found),
        best_step=tuple(each.step if each else None for each in found),
        final=tuple(short_or_none(result.last.get(objective.metric)) for result in results),
    )
