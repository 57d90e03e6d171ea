"""The result of a simulated study: its history, its best values over time, and the cost of the real study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hposlurm.records.history import History
from hposlurm.records.layout import StudyLayout
from hposlurm.records.ranking import best
from hposlurm.trial import Direction, Trial

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec


@dataclass(frozen=True, slots=True)
class SimulatedDecision:
    """One decision of the planner."""

    #: The number of trials before it.
    trials: int
    #: The number of assignments that it made.
    assignments: int
    #: The CPU time that it took.
    seconds: float


@dataclass(frozen=True, slots=True)
class Simulated:
    """A simulated study. Times are virtual seconds."""

    spec: StudySpec
    layout: StudyLayout
    mode: str
    #: How many elements run at a time.
    slots: int
    #: The start of the study on the virtual clock, in seconds since the epoch.
    begin: float
    #: How long the whole study took.
    wall_s: float
    #: When the last new trial started. After that, slots become empty because no trial is left to start.
    busy_s: float
    #: How long all elements together trained.
    trained_s: float
    #: How long all elements together trained until `busy_s`.
    busy_trained_s: float
    history: History
    #: The records of each journal by (trial, attempt); None if they were not kept.
    journals: Mapping[tuple[int, int], Sequence[Mapping[str, Any]]] | None
    #: All decisions of the planner, in order.
    decisions: tuple[SimulatedDecision, ...] = ()

    @property
    def training_share(self) -> float:
        """The part of the slots' time that was spent training, from the start of the study to its end."""
        return self.trained_s / (self.slots * self.wall_s) if self.wall_s else 0.0

    @property
    def busy_share(self) -> float:
        """The same until the last new trial started; 0.0 if all started at once."""
        return self.busy_trained_s / (self.slots * self.busy_s) if self.busy_s else 0.0

    @property
    def best(self) -> Trial | None:
        return best(self.history, self.spec.objectives)

    def incumbents(self, metric: str | None = None) -> list[tuple[float, float]]:
        """Returns (seconds, value) of every report of the first objective that was better than all before it.

        `metric` names another metric, which is compared in the first objective's direction.
        """
        objective = self.spec.objectives[0]
        name = metric or objective.metric
        sign = -1.0 if objective.direction is Direction.MAXIMIZE else 1.0
        reports = sorted(
            (report.time - self.begin, sign * value)
            for trial in self.history.trials
            for report in trial.reports
            if isinstance(value := report.metrics.get(name), float)
        )
        found: list[tuple[float, float]] = []
        lowest = float("inf")
        for time, loss in reports:
            if loss < lowest:
                lowest = loss
                found.append((time, sign * loss))
        return found
