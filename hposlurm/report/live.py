"""Makes the data of a live page: how far each running trial is, its curve, when it ends, and who is at which rung."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hposlurm.records.history import History
from hposlurm.report.digest import Digest
from hposlurm.report.printable import printable
from hposlurm.report.progress import Progress, RunningTrial
from hposlurm.report.view import StudyView
from hposlurm.search.rungs import levels_of
from hposlurm.trial import Attempt, Trial, TrialState, is_finite

if TYPE_CHECKING:
    from hposlurm.report.records import StudyRecords
    from hposlurm.spec import StudySpec


@dataclass(frozen=True, slots=True)
class LiveTrial:
    """A running trial on the page."""

    running: RunningTrial
    #: the last step of this part of its training; None if the training decides it
    end_step: int | None
    #: the first objective's last value; None before its first report
    value: float | str | None
    #: all finite values of the first objective, in the order of steps
    curve: tuple[float, ...]
    #: seconds until this part of its training ends, 0 if it should have ended by now; None if unknown
    left_s: float | None


@dataclass(frozen=True, slots=True)
class Rung:
    """How many trials are at a rung."""

    step: int
    #: those that have reported this step or a later one
    reached: int
    #: those that wait there for their promotion
    paused: int
    #: those that run and will end or be judged there
    running: int


@dataclass(frozen=True, slots=True)
class LivePage:
    """Everything that the page of one study shows."""

    progress: Progress
    #: the first objective
    metric: str
    running: tuple[LiveTrial, ...]
    #: empty for a study without rungs
    rungs: tuple[Rung, ...] = ()


def live_page(progress: Progress, seen: StudyRecords | StudyView, spec: StudySpec) -> LivePage:
    """Returns the page of a study whose progress is known; it was computed from `seen`.

    Of a study with rungs these have to be all its records.
    """
    history, metric, mean_s = seen.history, spec.objectives[0].metric, _mean_runtime_s(seen)
    running = tuple(_live_trial(each, history.trial(each.trial), spec, mean_s) for each in progress.running)
    return LivePage(progress, printable(metric), running, _rungs(history, spec))


def _live_trial(running: RunningTrial, trial: Trial, spec: StudySpec, mean_s: float | None) -> LiveTrial:
    metric = spec.objectives[0].metric
    to_step = trial.stages[-1].to_step if trial.stages else None
    end_step = spec.search.max_resource if to_step is None else to_step
    values = [report.metrics[metric] for report in trial.reports if metric in report.metrics]
    return LiveTrial(
        running=running,
        end_step=end_step,
        value=running.metrics.get(metric),
        curve=tuple(float(value) for value in values if is_finite(value)),
        left_s=time_left_s(trial, running.running_s, end_step, mean_s),
    )


def time_left_s(trial: Trial, running_s: float, end_step: int | None, mean_s: float | None) -> float | None:
    """Returns the seconds until the running attempt ends; None if unknown.

    The pace is that of its own reports; a report that is late is taken to come now. Before there is one, and where the
    training decides its end, it is assumed to take `mean_s`, the mean of the completed trials.
    """
    attempt = trial.attempts[-1]
    if end_step is not None and (pace := _step_s(attempt, trial)) is not None:
        last = attempt.reports[-1]
        since_s = attempt.started_at + running_s - last.time
        return max(0.0, (end_step - last.step) * pace - min(max(0.0, since_s), pace))
    # a part of the training takes less than the whole
    if mean_s is None or (trial.stages and not trial.stages[-1].is_final):
        return None
    return max(0.0, mean_s - (trial.runtime_s or 0.0) - running_s)


def _step_s(attempt: Attempt, trial: Trial) -> float | None:
    """Returns the seconds that a step takes by the attempt's reports; the start-up counts only if there is just one."""
    if not attempt.reports:
        return None
    first, last = attempt.reports[0], attempt.reports[-1]
    if last.step > first.step:
        return max(0.0, last.time - first.time) / (last.step - first.step)
    earlier = [a.reports[-1].step for a in trial.attempts[:-1] if a.reports] if attempt.resumed_from else []
    steps = last.step - (earlier[-1] if earlier else 0)
    return max(0.0, last.time - attempt.started_at) / steps if steps > 0 else None


def _mean_runtime_s(seen: StudyRecords | StudyView) -> float | None:
    """Returns the mean runtime of the completed trials; None if none has completed."""
    rest = seen.rest if isinstance(seen, StudyView) else Digest()
    found = [t.runtime_s for t in seen.history.trials if t.state is TrialState.COMPLETE and t.runtime_s is not None]
    timed = rest.timed + len(found)
    return (rest.runtime_s + sum(found)) / timed if timed else None


def _rungs(history: History, spec: StudySpec) -> tuple[Rung, ...]:
    levels, pruner = levels_of(spec.search), spec.search.pruner_traits
    if not levels or (pruner.rungs == "never" and not pruner.at_reports):
        return ()
    reached = Counter(_last_level(trial, levels) for trial in history.trials)
    at = Counter((trial.state, _end_level(trial, levels)) for trial in history.trials)
    return tuple(
        Rung(
            step=level,
            reached=sum(reached[step] for step in levels[i:]),
            paused=at[TrialState.PAUSED, level],
            running=at[TrialState.RUNNING, level],
        )
        for i, level in enumerate(levels)
    )


def _last_level(trial: Trial, levels: Sequence[int]) -> int:
    """Returns the highest rung that the trial has reported; 0 if it has reached none."""
    step = trial.reports[-1].step if trial.reports else 0
    return max((level for level in levels if level <= step), default=0)


def _end_level(trial: Trial, levels: Sequence[int]) -> int:
    """Returns the rung at which the trial is paused or, while it runs, will be compared next."""
    if trial.stages and trial.stages[-1].to_step in levels:
        return trial.stages[-1].to_step or 0
    reached = _last_level(trial, levels)
    if trial.state is TrialState.PAUSED:
        return reached
    return next((level for level in levels if level > reached), levels[-1])
