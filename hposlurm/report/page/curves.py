"""Thins the learning curves of a study's trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hposlurm.records.history import History
from hposlurm.report.page.shortening import kept_points, short
from hposlurm.report.printable import printable
from hposlurm.trial import Direction, Objective, Trial, is_finite

#: The most points of one curve.
MOST_POINTS = 200
# All curves of a study together; what 10,000 trials may have is still fluid in a browser, and a few megabytes
_ALL_POINTS = 400_000
_FEWEST_POINTS = 20


@dataclass(frozen=True, slots=True)
class Curves:
    """The learning curves for one objective. Trials that reported at the same steps share these."""

    objective: str
    #: different sequences of steps
    steps: tuple[tuple[int, ...], ...]
    #: the row of each trial that has a curve
    rows: tuple[int, ...]
    #: for each of them the index of its steps
    steps_of: tuple[int, ...]
    #: for each of them the values
    values: tuple[tuple[float, ...], ...]


def curves(history: History, objective: Objective) -> Curves:
    """Returns the curve of each trial that reported the objective, up to where it ended."""
    most = max(_FEWEST_POINTS, min(MOST_POINTS, _ALL_POINTS // max(1, len(history.trials))))
    is_lowest_best = objective.direction is Direction.MINIMIZE
    known: dict[tuple[int, ...], int] = {}
    rows: list[int] = []
    steps_of: list[int] = []
    values: list[tuple[float, ...]] = []
    for row, trial in enumerate(history.trials):
        steps, reported = _points(trial, objective.metric)
        if not steps:
            continue
        kept = kept_points(reported, most, is_lowest_best=is_lowest_best)
        rows.append(row)
        steps_of.append(known.setdefault(tuple(steps[i] for i in kept), len(known)))
        values.append(tuple(short(reported[i]) for i in kept))
    return Curves(printable(objective.metric), tuple(known), tuple(rows), tuple(steps_of), tuple(values))


def _points(trial: Trial, name: str) -> tuple[Sequence[int], Sequence[float]]:
    found = [(report.step, value) for report in trial.reports if is_finite(value := report.metrics.get(name))]
    return [step for step, _ in found], [value for _, value in found]
