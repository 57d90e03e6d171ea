"""Notices on early stopping: a rung that cut, or would have cut, a winner."""

from __future__ import annotations

import math
from collections.abc import Iterator

from hposlurm.decisions import observe
from hposlurm.records.ranking import losses
from hposlurm.report.notices.notice import Evidence, Notice
from hposlurm.report.numbers import shown
from hposlurm.search.observation import Observation
from hposlurm.search.rungs import levels_of, value_at
from hposlurm.trial import Direction, Trial, TrialState

# A rung of fewer trials is no rung: of three, one in three goes on whatever happens.
_LEAST_THERE = 6


def rung_notices(found: Evidence) -> Iterator[Notice]:
    """Yields the notices on each trial that shows that the rungs are wrong."""
    if len(found.spec.objectives) > 1 or not found.complete:
        return
    yield from _stopped_better(found)
    yield from _winner_would_be_cut(found)


def _stopped_better(found: Evidence) -> Iterator[Notice]:
    """Yields a notice if trials that were stopped had better values than the best that was trained to its end."""
    best, objectives = found.complete[0], found.spec.objectives
    stopped = [
        trial
        for trial in found.records.history.trials
        if trial.state in (TrialState.PRUNED, TrialState.PAUSED) and trial.values is not None
        if losses(trial, objectives)[0] < found.loss(best)
    ]
    if not stopped:
        return
    first = min(stopped, key=lambda trial: (losses(trial, objectives)[0], trial.number))
    name = objectives[0].metric
    yield Notice(
        "cut_winner",
        f"a trial that was stopped at step {_last_step(first)} had {name} {_value(first)} there, better than the best "
        f"that was trained to its end ({_value(best)} in trial {best.number})",
        "longer training makes it worse: lower search.max_resource, or let the best report count (objectives: report: "
        "best)",
        tuple(trial.number for trial in stopped),
    )


def _value(trial: Trial) -> str:
    return shown((trial.values or (math.nan,))[0])


def _last_step(trial: Trial) -> str:
    return str(trial.reports[-1].step) if trial.reports else "?"


def _winner_would_be_cut(found: Evidence) -> Iterator[Notice]:
    """Yields a notice if the best trial was trained to its end whatever its rungs, and would have been stopped."""
    best = found.complete[0]
    if not best.attrs.get("through"):
        return
    search, observations = found.spec.search, observe(found.records.history, found.spec.objectives)
    for step in levels_of(search)[:-1]:
        place, count = _place_at(found, observations, step, best.number)
        if count >= _LEAST_THERE and place > math.ceil(count / search.reduction_factor):
            yield Notice(
                "cut_winner",
                f"the best trial was {place}th of {count} at step {step} and would have been stopped there; it was "
                "let through to measure how well the rungs predict",
                f"begin to compare later: search.min_resource above {step}",
                (best.number,),
            )
            return


def _place_at(found: Evidence, observations: list[Observation], step: int, number: int) -> tuple[int, int]:
    """Returns the trial's place at a rung, from 1, and how many trials have a value there; (0, count) without one."""
    sign = -1.0 if found.spec.objectives[0].direction is Direction.MAXIMIZE else 1.0
    values = {o.number: sign * value[0] for o in observations if (value := value_at(o, step)) is not None}
    if number not in values:
        return 0, len(values)
    return 1 + sum(value < values[number] for value in values.values()), len(values)
