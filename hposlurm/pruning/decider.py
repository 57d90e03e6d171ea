"""Who decides about one trial while it is trained: which decisions are due, and each of them only once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hposlurm.pruning.curve import Curve
from hposlurm.pruning.decision import DECISION, PruningDecision, decide, rivals_of
from hposlurm.pruning.rule import StopRule


class Decider:
    """Takes in the trial's own records, those of earlier attempts too; `stopped` is the decision that ended it."""

    def __init__(self, rule: StopRule, trial: int) -> None:
        self._rule = rule
        self._trial = trial
        self.curve = Curve(rule.objectives)
        self.stopped: PruningDecision | None = None
        self._rung = 0  # the next one to be decided about
        self._newest: int | None = None  # the step that is not decided about yet

    def take(self, record: Mapping[str, Any]) -> None:
        """Takes in the next record of the trial's journals, of whatever kind."""
        if record.get("kind") == DECISION:
            self._remember(record)
            return
        step = self.curve.take(record)
        if step is not None and step >= self._rule.warmup_steps:
            is_broken = step in self.curve.broken
            if not is_broken or self._rule.name == "threshold":
                self._newest = step

    def _remember(self, record: Mapping[str, Any]) -> None:
        try:
            decision = PruningDecision.from_record(record)
        except ValueError:
            return
        if decision.rule != self._rule.name:
            return  # the study was resumed with another one
        if decision.stops:
            self.stopped = decision
        levels = self._rule.levels
        while decision.level is not None and self._rung < len(levels) and levels[self._rung] <= decision.level:
            self._rung += 1

    @property
    def is_due(self) -> bool:
        """Whether there is something to decide."""
        if self.stopped is not None:
            return False
        if self._rule.levels:
            return self._rung < len(self._rule.levels) and self.curve.last_step >= self._rule.levels[self._rung]
        return self._newest is not None

    def decisions(self, curves: Mapping[int, Curve]) -> Iterator[PruningDecision]:
        """The decisions that are due, each to be recorded; none behind one that stops the trial.

        `curves` are those of all trials. Without rungs only the newest report is decided about, and only a decision to
        stop comes out: who goes on is asked again at the next one.
        """
        if self._rule.levels:
            yield from self._at_rungs(curves)
        elif self.is_due and self._newest is not None:
            decision = self._decide(curves, self._newest)
            self._newest = None
            if decision.stops:
                yield decision

    def _at_rungs(self, curves: Mapping[int, Curve]) -> Iterator[PruningDecision]:
        levels = self._rule.levels
        while self.is_due:
            point = self.curve.at(levels[self._rung])
            assert point is not None  # it is due
            step = point[0]
            while self._rung + 1 < len(levels) and levels[self._rung + 1] <= step:  # one report got to several rungs
                self._rung += 1
            level = levels[self._rung]
            self._rung += 1
            yield self._decide(curves, step, level)

    def _decide(self, curves: Mapping[int, Curve], step: int, level: int | None = None) -> PruningDecision:
        decision = decide(self._rule, self.curve, rivals_of(self._rule, self._trial, curves, step, level), step, level)
        if decision.stops:
            self.stopped = decision
        return decision
