"""Which trials have an assignment already that somebody is at, or will be: these are never assigned a second time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Container

from hposlurm.records.history import History
from hposlurm.records.plan import WavePlan
from hposlurm.records.retries import gives_back
from hposlurm.trial import Outcome


def held(history: History, still_open: Collection[int]) -> frozenset[int]:
    """Numbers of the trials that elements of the waves in `still_open` have, or may yet take.

    The cluster may start any element of a wave again, so that its trial is held until the wave is settled. An element
    of a refill wave that recorded how its attempt ended does not take its trial up again: it is free, and so is one
    that was preempted for good (preempted.py).
    """
    return frozenset().union(*(_held(history, plan) for plan in history.in_flight if plan.wave in still_open))


def _held(history: History, plan: WavePlan) -> set[int]:
    entries = Counter(assignment.trial for assignment in plan.assignments)
    if plan.elements is None:
        return {*entries}
    freed = {(s.trial, s.attempt) for s in plan.settled if s.wave == plan.wave and s.outcome is Outcome.INTERRUPTED}
    return {trial for trial, count in entries.items() if _given_back(history, plan.wave, trial, freed) < count}


def _given_back(history: History, wave: int, trial: int, freed: Container[tuple[int, int | None]]) -> int:
    """How many elements of the wave had the trial and are done with it, as its journals tell and what was settled."""
    words = history.journals.get(trial, ())
    last = {attempt.index: position for position, attempt in enumerate(words) if attempt.wave == wave}
    return sum(gives_back(words[: i + 1]) or (trial, words[i].number) in freed for i in last.values())
