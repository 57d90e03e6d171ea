"""Keeps the plans and journals of a simulated study in memory, and folds their new parts as those on a disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from hposlurm.records.assignment import Assignment, Settlement
from hposlurm.records.fold import fold, unread
from hposlurm.records.history import History
from hposlurm.records.plan import WavePlan
from hposlurm.records.thinning import NOTHING, Needed
from hposlurm.records.trial_state import fold_trial
from hposlurm.trial import Attempt, Trial

Record = Mapping[str, Any]


class SimulatedRecords:
    """The content of a study's files. `history()` returns what `read_history` would read from them."""

    def __init__(self, needed: Needed = NOTHING, *, keep_journals: bool = True) -> None:
        """`needed` is what `read_history` takes; `keep_journals` is for a study that is written afterwards."""
        self._needed = needed
        self.plans: list[WavePlan] = []
        self.journals: dict[tuple[int, int], list[Record]] | None = {} if keep_journals else None
        self._trials: list[Trial] = []
        self._assigned: list[list[tuple[int, Assignment]]] = []
        self._attempts: dict[int, tuple[Attempt, ...]] = {}
        self._settled: dict[int, list[list[Settlement]]] = {}
        self._unfolded: dict[tuple[int, int], list[Record]] = {}
        self._started: dict[int, int] = {}
        self._changed: set[int] = set()

    def plan(self, plan: WavePlan) -> None:
        """Adds the next plan. `settle` was called before with its settlements, those for pruned trials included."""
        self.plans.append(plan)
        for assignment in plan.assignments:
            while assignment.trial >= len(self._assigned):
                self._assigned.append([])
            self._assigned[assignment.trial].append((plan.wave, assignment))
            self._changed.add(assignment.trial)

    def settle(self, settled: Sequence[Settlement]) -> None:
        """Adds the settlements of one plan, or of a plan to come."""
        mine: dict[int, list[Settlement]] = {}
        for settlement in settled:
            mine.setdefault(settlement.trial, []).append(settlement)
        for trial, settlements in mine.items():
            self._settled.setdefault(trial, []).append(settlements)
        self._changed.update(mine)

    @property
    def is_finished(self) -> bool:
        """True if the last plan ended the study."""
        return bool(self.plans) and self.plans[-1].finished is not None

    def next_attempt(self, trial: int) -> int:
        """Returns the number for a new attempt of the trial."""
        number = self._started.get(trial, 0)
        self._started[trial] = number + 1
        return number

    def add(self, trial: int, attempt: int, record: Record) -> None:
        """Appends a record to the journal of an attempt."""
        self._unfolded.setdefault((trial, attempt), []).append(record)
        if self.journals is not None:
            self.journals.setdefault((trial, attempt), []).append(record)

    def history(self) -> History:
        """Returns the history as of now. Folds only new records, and copies the lists of plans and trials."""
        for (trial, number), records in self._unfolded.items():
            attempts = self._attempts.get(trial, ())
            known = attempts[number] if number < len(attempts) else unread(number)
            folded = fold(known, records, needed=self._needed)
            self._attempts[trial] = (*attempts[:number], folded, *attempts[number + 1 :])
            self._changed.add(trial)
        self._unfolded.clear()
        for number in sorted(self._changed):
            folded_trial = self._fold(number)
            if number < len(self._trials):
                self._trials[number] = folded_trial
            else:
                self._trials.append(folded_trial)
        self._changed.clear()
        return History(tuple(self.plans), tuple(self._trials), MappingProxyType(self._attempts), self._needed)

    def _fold(self, number: int) -> Trial:
        last = self.plans[-1]
        attempts, settled = self._attempts.get(number, ()), self._settled.get(number, ())
        return fold_trial(
            self._assigned[number],
            attempts,
            settled,
            last.objectives,
            last.retries,
            last.max_resource,
            last.value_rules,
        )
