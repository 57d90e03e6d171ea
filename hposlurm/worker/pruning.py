"""Decides at each report whether the trial goes on: a thread reads what other trials have recorded.

Training and the journal never wait for it, however slow the shared file system is. A decision depends only on records
and is recorded itself.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from hposlurm.pruning import Curve, Decider, PruningDecision, StopRule
from hposlurm.records import journal
from hposlurm.records.layout import StudyLayout, TrialLayout, number_of
from hposlurm.trial import Outcome
from hposlurm.worker.environment import Place
from hposlurm.worker.recorder import say

# Reading all trials may take a tenth of the time, so that many workers can read
_PAUSE, _LONGEST_PAUSE_S = 10, 30.0
_FOR_GOOD = frozenset({Outcome.COMPLETE, Outcome.PRUNED, Outcome.INFEASIBLE})


class OtherTrials:
    """The curves of a study's other trials; each look reads only new records."""

    def __init__(self, study: StudyLayout, rule: StopRule, trial: int) -> None:
        self._study = study
        self._rule = rule
        self._own = trial
        self._offsets: dict[int, dict[int, int]] = {}
        self._ended: set[int] = set()
        self.curves: dict[int, Curve] = {}

    def look(self) -> None:
        """Reads the new records. What cannot be read now is read next time."""
        for number in self._numbers():
            if number != self._own and number not in self._ended:
                self._read(self._study.trial(number))

    def _numbers(self) -> list[int]:
        try:
            names = [path.name for path in self._study.trials.iterdir()]
        except OSError:
            return []
        return sorted(number for name in names if (number := number_of(name, 5)) is not None)

    def _read(self, trial: TrialLayout) -> None:
        offsets = self._offsets.setdefault(trial.number, {})
        curve = self.curves.setdefault(trial.number, Curve(self._rule.objectives, self._rule.kept_at))
        for attempt in sorted({*offsets, *trial.attempts()}):
            offset = offsets.setdefault(attempt, 0)
            try:
                for block in journal.blocks(trial.journal(attempt), offset):
                    self._take(trial.number, curve, block)
                    offsets[attempt] += len(block)
            except OSError:
                return

    def _take(self, trial: int, curve: Curve, block: bytes) -> None:
        for record in journal.records_in(block):
            curve.take(record)
            if record.get("kind") == "end" and record.get("outcome") in _FOR_GOOD:
                self._ended.add(trial)


def past(rule: StopRule, trial: TrialLayout, before: int) -> Decider:
    """Returns a decider that knows the records of the trial's attempts before `before`. Raises OSError."""
    decider = Decider(rule, trial.number)
    for attempt in trial.attempts():
        for block in journal.blocks(trial.journal(attempt)) if attempt < before else ():
            for record in journal.records_in(block):
                decider.take(record)
    return decider


class Pruner:
    """Runs the attempt's decider in a thread."""

    def __init__(self, place: Place) -> None:
        rule = place.plan.stop
        assert rule is not None  # else no pruner is made
        self._rule = rule
        self._trial = place.study.trial(place.assignment.trial)
        self._attempt = place.attempt
        self._others = OtherTrials(place.study, rule, place.assignment.trial)
        self._records: queue.SimpleQueue[Sequence[Mapping[str, Any]]] = queue.SimpleQueue()
        self._decisions: queue.SimpleQueue[PruningDecision] = queue.SimpleQueue()

    def start(self) -> None:
        """Starts the thread."""
        threading.Thread(target=self._run, name="pruner", daemon=True).start()

    def add(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Gives the thread new records of the attempt."""
        if records:
            self._records.put(records)

    def decisions(self) -> list[PruningDecision]:
        """Returns the decisions since the last call."""
        found = []
        while not self._decisions.empty():
            found.append(self._decisions.get())
        return found

    def _run(self) -> None:
        try:
            decider = past(self._rule, self._trial, self._attempt)
            while decider.stopped is None:
                for records in self._new_records():
                    for record in records:
                        decider.take(record)
                if decider.is_due:
                    self._decide(decider)
        except Exception as error:  # a trial about which nothing can be decided trains on
            say(f"trial {self._trial.number} can no longer be stopped early: {type(error).__name__}: {error}")

    def _new_records(self) -> list[Sequence[Mapping[str, Any]]]:
        """Waits for records and returns all that came since the last call."""
        found = [self._records.get()]
        while not self._records.empty():
            found.append(self._records.get())
        return found

    def _decide(self, decider: Decider) -> None:
        began = time.monotonic()
        self._others.look()
        for decision in decider.decisions(self._others.curves):
            self._decisions.put(decision)
        time.sleep(min(_LONGEST_PAUSE_S, _PAUSE * (time.monotonic() - began)))
