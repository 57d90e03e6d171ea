"""Compares studies by what they found and what it cost, and single trials side by side. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hposlurm.errors import RequestError
from hposlurm.records.history import History
from hposlurm.records.ranking import best, losses
from hposlurm.records.values import counted_value
from hposlurm.report.breaks import break_s
from hposlurm.report.labels import differing, label
from hposlurm.report.numbers import duration
from hposlurm.report.records import StudyRecords
from hposlurm.report.tables import Table
from hposlurm.report.waits import mean_wait_s
from hposlurm.trial import Attempt, Outcome, ParamValue, Trial, TrialState, latest_metrics

MOST_TRIALS = 6


@dataclass(frozen=True, slots=True)
class StudyCost:
    """The result of a study and its cost."""

    study: str
    algorithm: str
    objective: str
    #: the first objective's value of the best trial
    best: float | None
    best_trial: int | None
    #: from the first plan until the best value was reported, in seconds, without the breaks before a resume
    time_to_best: float | None
    #: GPU minutes of all trials until then
    gpu_minutes_to_best: float | None
    #: GPU minutes until a trial was as good as the baseline's best; None if none was
    gpu_minutes_to_baseline: float | None
    #: of one trial
    gpus: int
    gpu_hours: float
    #: GPU hours as a multiple of the baseline's; hours of trials where no study has GPUs
    cost_ratio: float | None
    #: the sum of all trials' run times, in seconds
    trial_time: float
    #: from the first plan to the last end, in seconds, without the breaks before a resume
    wall_time: float
    trials: int
    #: the share of trials that the search stopped or paused before their end
    stopped: float
    #: GPU hours of failed attempts
    failed_gpu_hours: float
    #: GPU hours of trials that the search stopped or paused
    stopped_gpu_hours: float
    #: GPU hours that interrupted attempts had not saved
    lost_gpu_hours: float
    #: the mean time that an attempt waited in the cluster's queue, in seconds
    queue_wait: float | None


def compare_studies(studies: Sequence[StudyRecords], baseline: int = 0) -> tuple[StudyCost, ...]:
    """Returns a line per study; ratios are those to the study at index `baseline`.

    Raises RequestError if the studies have not the same first objective: their best values say nothing of each other.
    """
    objectives = {(s.spec.objectives[0].metric, s.spec.objectives[0].direction) for s in studies}
    if len(objectives) > 1:
        named = ", ".join(f"{s.spec.name}: {s.spec.objectives[0].metric}" for s in studies)
        raise RequestError(f"these studies have different first objectives ({named}); compare those that have the same")
    has_gpus = any(study.history.gpu_hours for study in studies)
    reference = studies[baseline]
    target = _best_loss(reference)
    cost = _cost_hours(reference, has_gpus=has_gpus)
    return tuple(_cost(study, target, cost, has_gpus=has_gpus) for study in studies)


def _cost_hours(study: StudyRecords, *, has_gpus: bool) -> float:
    return study.history.gpu_hours if has_gpus else _trial_time_s(study) / 3600


def _trial_time_s(study: StudyRecords) -> float:
    return sum(trial.runtime_s or 0.0 for trial in study.history.trials)


def _best_loss(study: StudyRecords) -> float | None:
    found = best(study.history, study.spec.objectives, study.spec.limits)
    return None if found is None else losses(found, study.spec.objectives)[0]


def _cost(study: StudyRecords, target: float | None, cost: float, *, has_gpus: bool) -> StudyCost:
    spec, history = study.spec, study.history
    found = best(history, spec.objectives, spec.limits)
    begin = history.plans[0].created_at if history.plans else 0.0
    attempts = [attempt for trial in history.trials for attempt in trial.attempts]
    ends = [attempt.ended_at for attempt in attempts if attempt.ended_at is not None]
    at = None if found is None else _reported_at(study, found)
    caught_up = _first_as_good(study, target)
    stopped = [t for t in history.trials if t.state in (TrialState.PRUNED, TrialState.PAUSED)]
    own = _cost_hours(study, has_gpus=has_gpus)
    return StudyCost(
        study=spec.name,
        algorithm=spec.search.name,
        objective=spec.objectives[0].metric,
        best=(found.values or (None,))[0] if found is not None else None,
        best_trial=None if found is None else found.number,
        time_to_best=None if at is None else _time_s(history, begin, at),
        gpu_minutes_to_best=None if at is None else _gpu_minutes_until(attempts, at),
        gpu_minutes_to_baseline=None if caught_up is None else _gpu_minutes_until(attempts, caught_up),
        gpus=history.plans[-1].gpus if history.plans else 0,
        gpu_hours=history.gpu_hours,
        cost_ratio=own / cost if cost else None,
        trial_time=_trial_time_s(study),
        wall_time=_time_s(history, begin, max(ends, default=begin)),
        trials=len(history.trials),
        stopped=len(stopped) / len(history.trials) if history.trials else 0.0,
        failed_gpu_hours=sum(a.gpu_hours for a in attempts if a.outcome in (Outcome.FAIL, Outcome.INFEASIBLE)),
        stopped_gpu_hours=sum(trial.gpu_hours for trial in stopped),
        lost_gpu_hours=sum(_lost_gpu_hours(attempt) for attempt in attempts),
        queue_wait=mean_wait_s(study),
    )


def _time_s(history: History, begin: float, end: float) -> float:
    return max(0.0, end - begin - break_s(history, begin, end))


def _reported_at(study: StudyRecords, trial: Trial) -> float | None:
    """Returns when the trial reported the value that counts; its end if that is not known."""
    objective = study.spec.objectives[0]
    counted = counted_value(trial.attempts, objective.metric, objective.rule)
    times = [r.time for a in trial.attempts for r in a.reports if counted is not None and r.step == counted.step]
    return max(times or [a.ended_at for a in trial.attempts if a.ended_at is not None], default=None)


def _first_as_good(study: StudyRecords, target: float | None) -> float | None:
    """Returns when the first completed trial reported a value as good as `target`."""
    if target is None:
        return None
    objectives = study.spec.objectives
    complete = [t for t in study.history.trials if t.state is TrialState.COMPLETE and t.values is not None]
    good = [trial for trial in complete if losses(trial, objectives)[0] <= target]
    times = [at for trial in good if (at := _reported_at(study, trial)) is not None]
    return min(times, default=None)


def _gpu_minutes_until(attempts: Sequence[Attempt], moment: float) -> float:
    """Returns the GPU minutes that attempts had used at `moment`."""
    used = 0.0
    for attempt in attempts:
        end = min(moment, attempt.ended_at if attempt.ended_at is not None else moment)
        used += attempt.gpus * max(0.0, end - attempt.started_at) if attempt.started_at else 0.0
    return used / 60


def _lost_gpu_hours(attempt: Attempt) -> float:
    """Returns the GPU hours of an interrupted attempt after its last checkpoint; all of them without one."""
    if attempt.outcome is not Outcome.INTERRUPTED or attempt.ended_at is None:
        return 0.0
    saved = max((step for step, _ in attempt.checkpoints), default=None)
    times = [report.time for report in attempt.reports if saved is not None and report.step <= saved]
    since = max(times, default=attempt.started_at)
    return attempt.gpus * max(0.0, attempt.ended_at - since) / 3600


def cost_table(costs: Sequence[StudyCost]) -> Table:
    """Returns the comparison as a table with a row per study."""
    rows: list[dict[str, Any]] = [asdict(cost) for cost in costs]
    return Table(columns=tuple(rows[0]) if rows else (), rows=tuple(rows), objectives=("best",))


_TIMES = frozenset({"time_to_best", "trial_time", "wall_time", "queue_wait"})


def cost_sheet(costs: Sequence[StudyCost], baseline: int = 0) -> Table:
    """Returns the comparison for people: a row per measure with its unit, a column per study.

    Measures that are 0 or unknown in all studies, such as GPU hours without GPUs, are left out.
    """
    heads = _numbered([cost.study for cost in costs])
    rows: list[dict[str, ParamValue]] = []
    for name in list(asdict(costs[0]))[1:]:
        values = [getattr(cost, name) for cost in costs]
        if any(values):
            title = f"cost_ratio (to {heads[baseline]})" if name == "cost_ratio" else name
            rows.append({"": title, **dict(zip(heads, (_told(name, value) for value in values), strict=True))})
    return Table(columns=("", *heads), rows=tuple(rows))


def _told(name: str, value: ParamValue) -> ParamValue:
    """Returns a value with its unit; None stays."""
    if isinstance(value, bool | str) or value is None:
        return value
    if name in _TIMES:
        return duration(float(value))
    return f"{value:.0%}" if name == "stopped" else value


def _numbered(names: Sequence[str]) -> list[str]:
    """Returns the names; equal ones are numbered."""
    found: list[str] = []
    for name in names:
        found.append(name if name not in found else f"{name} ({names[: len(found)].count(name) + 1})")
    return found


# ---- trials


def compare_trials(chosen: Sequence[tuple[StudyRecords, Trial]]) -> Table:
    """Returns the trials side by side: a row per parameter and result, a column per trial, `differs` marks with `*`.

    Raises RequestError for fewer than two trials or more than six.
    """
    if not 2 <= len(chosen) <= MOST_TRIALS:
        raise RequestError(f"compare shows 2 to {MOST_TRIALS} trials side by side, not {len(chosen)}")
    heads = _heads(chosen)
    facts = [dict(_facts(study, trial)) for study, trial in chosen]
    rows = []
    for name in dict.fromkeys(name for each in facts for name in each):
        values = [each.get(name) for each in facts]
        differs = "*" if len({(type(value).__name__, value) for value in values}) > 1 else ""
        rows.append({"": name, "differs": differs, **dict(zip(heads, values, strict=True))})
    return Table(columns=("", "differs", *heads), rows=tuple(rows))


def _heads(chosen: Sequence[tuple[StudyRecords, Trial]]) -> list[str]:
    """Returns the label of each trial, with its study where there are several; equal ones are numbered."""
    names = differing([trial for _, trial in chosen])
    several = len({study.layout.root for study, _ in chosen}) > 1
    found: list[str] = []
    for study, trial in chosen:
        text = f"{study.spec.name} {label(trial, names)}" if several else label(trial, names)
        found.append(text if text not in found else f"{text} ({len(found) + 1})")
    return found


def _facts(study: StudyRecords, trial: Trial) -> Iterator[tuple[str, ParamValue]]:
    yield "state", str(trial.state)
    yield from trial.params.items()
    for objective in study.spec.objectives:
        counted = counted_value(trial.attempts, objective.metric, objective.best)
        yield f"{objective.metric}.best", None if counted is None else counted.value
        yield f"{objective.metric}.best_step", None if counted is None else counted.step
    metrics: Mapping[str, ParamValue] = latest_metrics(trial.attempts)
    yield from ((f"{name}.last", value) for name, value in metrics.items())
    last = trial.attempts[-1] if trial.attempts else None
    yield "steps", trial.reports[-1].step if trial.reports else None
    yield "runtime (s)", trial.runtime_s
    yield "gpu_hours", trial.gpu_hours
    yield "attempts", len(trial.attempts)
    yield "node", last.host if last is not None else None
    yield "git_commit", last.git_commit if last is not None else None
    yield "seed", trial.seed
    yield "reason", trial.reason or None
