"""What a simulated study came to: its history, its best values over time, and what the real one would cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hposlurm.records.history import History, best
from hposlurm.records.layout import StudyLayout
from hposlurm.trial import Direction, Trial

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec


@dataclass(frozen=True, slots=True)
class SimulatedDecision:
    """One decision of the planner: how many trials there were, what it assigned, and the CPU seconds that it took."""

    trials: int
    assignments: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Simulated:
    """A simulated study. Times are virtual seconds; `begin` is the virtual clock's epoch second of its start.

    `slots` is how many elements run at a time, `wall_s` how long it all took, `trained_s` what all elements together
    trained, `busy_s` when the last new trial started: from then on slots run empty because there is nothing left to
    begin. `busy_trained_s` is what was trained up to then. `decisions` are all that the planner was asked for.
    """

    spec: StudySpec
    layout: StudyLayout
    mode: str
    slots: int
    begin: float
    wall_s: float
    busy_s: float
    trained_s: float
    busy_trained_s: float
    history: History
    journals: Mapping[tuple[int, int], Sequence[Mapping[str, Any]]] | None
    decisions: tuple[SimulatedDecision, ...] = ()

    @property
    def training_share(self) -> float:
        """Which part of the slots' time was spent training, from the first second to the last."""
        return self.trained_s / (self.slots * self.wall_s) if self.wall_s else 0.0

    @property
    def busy_share(self) -> float:
        """The same until the last new trial started; 0.0 where all started at once."""
        return self.busy_trained_s / (self.slots * self.busy_s) if self.busy_s else 0.0

    @property
    def best(self) -> Trial | None:
        return best(self.history, self.spec.objectives)

    def incumbents(self, metric: str | None = None) -> list[tuple[float, float]]:
        """(seconds, value) of every report of the first objective that was better than all before it."""
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
