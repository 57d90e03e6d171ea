"""Makes the decisions about one trial while it is trained, each of them once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hposlurm.pruning.curve import Curve
from hposlurm.pruning.decision import DECISION, PruningDecision, compared_with, decide
from hposlurm.pruning.rule import StopRule


class Decider:
    """Reads the records of one trial, including earlier attempts; `stopped` is the decision that ended the trial."""

    def __init__(self, rule: StopRule, trial: int) -> None:
        self._rule = rule
        self._trial = trial
        self.curve = Curve(rule.objectives, rule.kept_at)
        self.stopped: PruningDecision | None = None
        self._rung = 0  # index of the next one to decide at
        self._newest: int | None = None  # the newest step without a decision

    def take(self, record: Mapping[str, Any]) -> None:
        """Adds the next record of the trial's journals, of any kind."""
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
            return  # the study was resumed with another rule
        if decision.stops:
            self.stopped = decision
        levels = self._rule.levels
        while decision.level is not None and self._rung < len(levels) and levels[self._rung] <= decision.level:
            self._rung += 1

    @property
    def is_due(self) -> bool:
        """True if a decision is due."""
        if self.stopped is not None:
            return False
        if self._rule.levels:
            return self._rung < len(self._rule.levels) and self.curve.last_step >= self._rule.levels[self._rung]
        return self._newest is not None

    def decisions(self, curves: Mapping[int, Curve]) -> Iterator[PruningDecision]:
        """Yields the decisions that are due, up to the first one that stops the trial. The caller records each.

        `curves` are the curves of all trials. A rule without rungs decides only at the newest report, and yields only
        a decision to stop: a trial that goes on is checked again at its next report.
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
            assert point is not None  # because a decision is due
            step = point[0]
            while self._rung + 1 < len(levels) and levels[self._rung + 1] <= step:  # one report reached several
                self._rung += 1
            level = levels[self._rung]
            self._rung += 1
            yield self._decide(curves, step, level)

    def _decide(self, curves: Mapping[int, Curve], step: int, level: int | None = None) -> PruningDecision:
        others = compared_with(self._rule, self._trial, curves, step, level)
        decision = decide(self._rule, self.curve, others, step, level)
        if decision.stops:
            self.stopped = decision
        return decision
