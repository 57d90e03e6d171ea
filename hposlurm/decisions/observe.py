"""Turns the trials of the history into the search's observations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hposlurm.records.history import History
from hposlurm.records.thinning import Needed
from hposlurm.records.values import counted_curve, counted_values
from hposlurm.search import Observation
from hposlurm.search.memory import SearchMemory
from hposlurm.search.population import generation_ends
from hposlurm.search.rungs import levels_of
from hposlurm.trial import (
    Objective,
    Outcome,
    Report,
    Trial,
    TrialState,
    ValueRule,
    has_diverged,
    is_finite,
    latest_metrics,
)

if TYPE_CHECKING:
    from hposlurm.spec import SearchSpec, StudySpec

# Generations that end after every one of a million steps cannot all be kept; those that are left are compared next
_MOST_GENERATIONS = 1000


def needed_of(spec: StudySpec) -> Needed:
    """Returns the reports that the decisions of a study need, for `read_history`."""
    objectives = tuple(objective.metric for objective in spec.objectives)
    return Needed(objectives, _compared_at(spec.search), tuple(sorted(spec.limits.metrics)))


def _compared_at(search: SearchSpec) -> tuple[int, ...]:
    interval, end = search.perturbation_interval, search.max_resource
    if search.in_generations and interval is not None and end is not None:
        return generation_ends(interval, end)[-_MOST_GENERATIONS:]
    return levels_of(search)


class Observer:
    """Turns trials into observations and keeps them: an unchanged trial gives the same observation object again.

    It keeps the trials themselves, not their ids, which Python may reuse.
    """

    def __init__(self) -> None:
        self._seen: dict[int, tuple[Trial, tuple[Objective, ...], Observation]] = {}

    def observe(self, history: History, objectives: Sequence[Objective]) -> list[Observation]:
        """Returns one observation per trial, in the order of their numbers."""
        wanted = tuple(objectives)
        return [self._observation(trial, wanted) for trial in history.trials]

    def _observation(self, trial: Trial, objectives: tuple[Objective, ...]) -> Observation:
        known = self._seen.get(trial.number)
        if known is not None and known[0] is trial and known[1] == objectives:
            return known[2]
        found = _observation(trial, objectives)
        self._seen[trial.number] = trial, objectives, found
        return found


@dataclass(frozen=True, slots=True)
class DecisionMemory:
    """Results kept from a study's earlier decisions, for speed only; a caller that makes many decisions owns it."""

    observer: Observer = field(default_factory=Observer)
    search: SearchMemory = field(default_factory=SearchMemory)


def observe(history: History, objectives: Sequence[Objective]) -> list[Observation]:
    """Returns one observation per trial, in the order of their numbers."""
    return Observer().observe(history, objectives)


def _observation(trial: Trial, objectives: Sequence[Objective]) -> Observation:
    names, rules = [o.metric for o in objectives], [o.rule for o in objectives]
    return Observation(
        number=trial.number,
        params=trial.params,
        state=trial.state,
        values=trial.values,
        attrs=trial.attrs,
        infeasible=trial.infeasible or _has_diverged(trial, names),
        curve=counted_curve(_curve(trial.reports, names), rules),
        to_step=trial.stages[-1].to_step if trial.stages else None,
        is_open=trial.state in (TrialState.WAITING, TrialState.RUNNING),
        metrics={name: value for name, value in trial.known_metrics.items() if is_finite(value)},
        ends=_ends(trial, names, rules),
    )


def _has_diverged(trial: Trial, names: Sequence[str]) -> bool:
    """True if the trial failed with an objective whose last value is not finite; a rerun would fail in the same way."""
    if trial.state is not TrialState.FAIL:
        return False
    latest = latest_metrics(trial.attempts)
    return any(has_diverged(latest.get(name)) for name in names)


def _ends(trial: Trial, names: Sequence[str], rules: Sequence[ValueRule]) -> tuple[tuple[int, tuple[float, ...]], ...]:
    """Returns where each completed stage was to end, with the objectives' values that counted there."""
    targets = {stage.number: stage.to_step for stage in trial.stages if stage.to_step is not None}
    ends: dict[int, tuple[float, ...]] = {}
    for position, attempt in enumerate(trial.attempts if targets else ()):
        target = targets.get(attempt.stage)
        if target is not None and attempt.outcome is Outcome.COMPLETE and target not in ends:
            values = counted_values(trial.attempts[: position + 1], names, rules, target)
            if values is not None:
                ends[target] = values
    return tuple(sorted(ends.items()))


def _curve(reports: Sequence[Report], names: Sequence[str]) -> tuple[tuple[int, tuple[float, ...]], ...]:
    found = ((report.step, _values(report.metrics, names)) for report in reports)
    return tuple((step, values) for step, values in found if values is not None)


def _values(metrics: Mapping[str, float | str], names: Sequence[str]) -> tuple[float, ...] | None:
    """Returns one finite number for each name; None where one is missing."""
    values = [value for name in names if is_finite(value := metrics.get(name))]
    return tuple(values) if len(values) == len(names) else None
