"""Finds the trials that an element of a running wave has or may take: they are never assigned a second time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Container

from hposlurm.records.history import History
from hposlurm.records.plan import WavePlan
from hposlurm.records.retries import gives_back
from hposlurm.trial import Outcome


def assigned_trials(history: History, still_open: Collection[int]) -> frozenset[int]:
    """Returns the numbers of the trials that elements of the waves in `still_open` have or may still take.

    The cluster may start any element of a wave again, so its trial stays assigned until the wave is settled. An element
    of a refill wave that recorded the end of its attempt does not take the trial again: the trial is released, and so
    is one that was preempted for good (refill/jobs.py).
    """
    return frozenset().union(*(_assigned(history, plan) for plan in history.in_flight if plan.wave in still_open))


def _assigned(history: History, plan: WavePlan) -> set[int]:
    entries = Counter(assignment.trial for assignment in plan.assignments)
    if plan.elements is None:
        return {*entries}
    freed = {(s.trial, s.attempt) for s in plan.settled if s.wave == plan.wave and s.outcome is Outcome.INTERRUPTED}
    return {trial for trial, count in entries.items() if _released(history, plan.wave, trial, freed) < count}


def _released(history: History, wave: int, trial: int, freed: Container[tuple[int, int | None]]) -> int:
    """Returns how many elements of the wave had the trial and released it, by its journals and the settlements."""
    attempts = history.journals.get(trial, ())
    last = {attempt.index: position for position, attempt in enumerate(attempts) if attempt.wave == wave}
    return sum(gives_back(attempts[: i + 1]) or (trial, attempts[i].number) in freed for i in last.values())
