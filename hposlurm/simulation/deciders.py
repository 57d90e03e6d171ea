"""Stops trials at a report in virtual time. The reports of all trials are known at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hposlurm.pruning import Curve, Decider, PruningDecision, StopRule


class Deciders:
    """One decider for each trial of a study whose plans have a rule."""

    def __init__(self) -> None:
        self._deciders: dict[int, Decider] = {}
        self._curves: dict[int, Curve] = {}

    def take(self, rule: StopRule, trial: int, record: Mapping[str, Any]) -> None:
        """Adds a record of the trial's journal."""
        decider = self._deciders.get(trial)
        if decider is None:
            decider = self._deciders[trial] = Decider(rule, trial)
            self._curves[trial] = decider.curve
        decider.take(record)

    def decisions(self, trial: int) -> Iterator[PruningDecision]:
        """Yields the decisions about the trial as of now."""
        yield from self._deciders[trial].decisions(self._curves)
