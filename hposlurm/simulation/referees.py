"""Stopping at a report in virtual time: what workers would read of each other is at hand at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hposlurm.stopping import Curve, Referee, Ruling, StopRule


class Referees:
    """One for each trial of a study whose plans have a rule."""

    def __init__(self) -> None:
        self._referees: dict[int, Referee] = {}
        self._curves: dict[int, Curve] = {}

    def take(self, rule: StopRule, trial: int, record: Mapping[str, Any]) -> None:
        """Takes in a record of the trial's journal."""
        referee = self._referees.get(trial)
        if referee is None:
            referee = self._referees[trial] = Referee(rule, trial)
            self._curves[trial] = referee.curve
        referee.take(record)

    def rulings(self, trial: int) -> Iterator[Ruling]:
        """What is decided about the trial now."""
        yield from self._referees[trial].rulings(self._curves)
