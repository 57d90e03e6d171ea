"""Follows the best value of each objective through a study: by time, by GPU hours and by finished trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hposlurm.records.history import History
from hposlurm.records.ranking import keeps
from hposlurm.report.page.columns import last_end
from hposlurm.report.page.shortening import short
from hposlurm.report.printable import printable
from hposlurm.trial import Direction, Objective, Trial, TrialState

if TYPE_CHECKING:
    from hposlurm.space.metric_constraints import Limits


@dataclass(frozen=True, slots=True)
class BestSoFar:
    """The completed trials that keep all limits, in the order in which they ended."""

    objective: str
    rows: tuple[int, ...]
    #: hours since the first plan
    hours: tuple[float, ...]
    #: GPU hours of all attempts that had ended by then
    gpu_hours: tuple[float, ...]
    #: trials that had ended by then, failed and stopped ones included
    trials: tuple[int, ...]
    values: tuple[float, ...]
    #: the best value until then
    best: tuple[float, ...]
    #: where the line ends now: hours, GPU hours, trials
    now: tuple[float, float, int]


def best_so_far(
    history: History, objectives: Sequence[Objective], limits: Limits, begin: float, now: float
) -> tuple[BestSoFar, ...]:
    """Returns the progress of each objective; () before a trial has completed."""
    ended = sorted(
        ((time, row, trial) for row, trial in enumerate(history.trials) if (time := last_end(trial)) is not None),
        key=lambda each: each[:2],
    )
    completed = [
        (count, time, row, trial)
        for count, (time, row, trial) in enumerate(ended, 1)
        if trial.state is TrialState.COMPLETE and trial.values is not None and keeps(trial, limits)
    ]
    if not completed:
        return ()
    spent = _spent(history.trials, [time for _, time, _, _ in completed])
    end = (short((now - begin) / 3600), short(float(history.gpu_hours)), len(ended))
    found = []
    for index, objective in enumerate(objectives):
        values = [short(trial.values[index]) for *_, trial in completed if trial.values is not None]
        found.append(
            BestSoFar(
                objective=printable(objective.metric),
                rows=tuple(row for _, _, row, _ in completed),
                hours=tuple(short((time - begin) / 3600) for _, time, _, _ in completed),
                gpu_hours=tuple(map(short, spent)),
                trials=tuple(count for count, *_ in completed),
                values=tuple(values),
                best=_running(values, is_lowest_best=objective.direction is Direction.MINIMIZE),
                now=end,
            )
        )
    return tuple(found)


def _running(values: Sequence[float], *, is_lowest_best: bool) -> tuple[float, ...]:
    best: list[float] = []
    choose = min if is_lowest_best else max
    for value in values:
        best.append(choose(best[-1], value) if best else value)
    return tuple(best)


def _spent(trials: Sequence[Trial], times: Sequence[float]) -> list[float]:
    """Returns the GPU hours of the attempts that had ended at each of the ascending `times`."""
    attempts = [attempt for trial in trials for attempt in trial.attempts if attempt.ended_at is not None]
    attempts.sort(key=lambda attempt: attempt.ended_at or 0.0)
    found: list[float] = []
    total, place = 0.0, 0
    for time in times:
        while place < len(attempts) and (attempts[place].ended_at or 0.0) <= time:
            total += attempts[place].gpu_hours
            place += 1
        found.append(total)
    return found
