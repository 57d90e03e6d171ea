"""The history of a study: the content of its plans and journals, read without locks and without asking the cluster."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter

from hposlurm.errors import RequestError, StudyError
from hposlurm.records import database
from hposlurm.records.assignment import Assignment, Settlement
from hposlurm.records.fold import read_on, unread
from hposlurm.records.gc_pause import gc_paused
from hposlurm.records.layout import StudyLayout, TrialLayout, number_of
from hposlurm.records.plan import WavePlan, read_plan
from hposlurm.records.retry_orders import NO_ATTEMPTS, RetryOrder, excused, read_orders, until
from hposlurm.records.thinning import NOTHING, Needed
from hposlurm.records.trial_state import fold_trial
from hposlurm.trial import Attempt, Trial, TrialState, ValueRule


@dataclass(frozen=True, slots=True)
class History:
    """The plans and the trials of a study."""

    #: All plans, in order.
    plans: tuple[WavePlan, ...] = ()
    #: All trials, by number.
    trials: tuple[Trial, ...] = ()
    #: The attempts of each started trial as folded from the journals, without any settlement. `study.db` stores them,
    #: so that reading can continue where it stopped.
    journals: Mapping[int, tuple[Attempt, ...]] = field(default_factory=dict)
    #: Which reports are kept of attempts with very many.
    needed: Needed = field(default=NOTHING, compare=False)
    #: The orders to run failed trials again, oldest first.
    orders: tuple[RetryOrder, ...] = ()

    @property
    def objectives(self) -> tuple[str, ...]:
        """The metrics that are optimised, in the study's order."""
        return self.plans[-1].objectives if self.plans else ()

    @property
    def value_rules(self) -> tuple[ValueRule, ...]:
        """Which value of each objective counts."""
        rules = self.plans[-1].value_rules if self.plans else ()
        return rules or (ValueRule.LAST,) * len(self.objectives)

    @property
    def finished(self) -> str | None:
        """Why the study is over; None while it is not."""
        return self.plans[-1].finished if self.plans else None

    @property
    def paused(self) -> str | None:
        """Why the study waits for a person's decision, without the word for that; None if it does not wait."""
        last = self.plans[-1] if self.plans else None
        return last.finished.removeprefix("paused: ") if last and last.paused and last.finished else None

    @property
    def in_flight(self) -> tuple[WavePlan, ...]:
        """The waves whose jobs may run or wait, oldest first; none once the study is finished."""
        if not self.plans or self.plans[-1].finished:
            return ()
        last = self.plans[-1]
        return (*(self.plans[wave] for wave in last.in_flight), last)

    @property
    def gpu_hours(self) -> float:
        """The GPU hours of all ended attempts, failures and retries included."""
        return sum((trial.gpu_hours for trial in self.trials), 0.0)

    def counts(self) -> Mapping[TrialState, int]:
        """Returns the number of trials in each state; every state is a key."""
        found = Counter(trial.state for trial in self.trials)
        return {state: found[state] for state in TrialState}

    def trial(self, number: int) -> Trial:
        """Returns the trial with that number; raises RequestError with the valid range if there is none."""
        position = bisect_left(self.trials, number, key=attrgetter("number"))
        if position < len(self.trials) and self.trials[position].number == number:
            return self.trials[position]
        known = f"0 to {self.trials[-1].number}" if self.trials else "none yet"
        raise RequestError(f"there is no trial {number}; the study's trials: {known}")


@gc_paused()
def read_history(
    layout: StudyLayout,
    use_database: bool = True,
    *,
    needed: Needed = NOTHING,
    after: History | None = None,
    curves: bool = True,
) -> History:
    """Reads the study's history from its plans, its published database and the newer parts of its journals.

    `needed` says which reports decisions need (its objectives are those of the plans); without it only the number of
    reports may differ, and only of attempts with very many. `after` is an earlier history of the same study, after
    which reading continues. Without `curves`, completed trials may have only the reports that their results depend on.
    Raises StudyError if a plan is damaged or missing. A database that is missing, damaged or
    another study's is ignored; the journals are then read from their start.
    """
    plans = _plans(layout)
    needed = replace(needed, objectives=plans[-1].objectives) if plans else needed
    known = _known(layout, plans, needed, after, curves) if plans and use_database else database.Snapshot()
    return history_of(layout, plans, needed, known, _started(layout))


def history_of(
    layout: StudyLayout,
    plans: tuple[WavePlan, ...],
    needed: Needed,
    known: database.Snapshot,
    started: Collection[int],
) -> History:
    """Returns the history of the trials that `plans` assign; reads on after `known` in the journals of `started`."""
    settled = _by_trial(plan.settled for plan in plans)
    orders = read_orders(layout)
    fold_one = _folder(plans, orders)
    trials: list[Trial] = []
    journals: dict[int, tuple[Attempt, ...]] = {}
    for number, assigned in sorted(_assigned(plans).items()):
        last, _ = assigned[-1]
        attempts, settlements = known.attempts.get(number, ()), settled.get(number, ())
        trial = fold_one(assigned, attempts, settlements) if attempts else None
        if number in started and not (trial and is_final(trial, attempts, had_ended(last, known.last_wave, plans))):
            attempts = _read_on(layout.trial(number), attempts, needed)
            trial = None
        trials.append(trial or fold_one(assigned, attempts, settlements))
        if attempts:
            journals[number] = attempts
    return History(plans, tuple(trials), journals, needed, orders)


def with_reports(layout: StudyLayout, history: History, needed: Needed) -> History:
    """Returns `history` with the reports that `needed` names; reads it again if it may lack some of them."""
    needed = replace(needed, objectives=history.objectives)
    attempts = (attempt for own in history.journals.values() for attempt in own)
    if history.needed.includes(needed) or not any(attempt.is_thinned for attempt in attempts):
        return history
    return read_history(layout, needed=needed)


def _known(
    layout: StudyLayout, plans: Sequence[WavePlan], needed: Needed, after: History | None, curves: bool
) -> database.Snapshot:
    """Returns what was read before: by this process, else by the one that published the database."""
    if after is not None and after.plans and after.needed.includes(needed):
        return database.Snapshot(after.journals, after.plans[-1].wave)
    return database.read_snapshot(layout.database, plans[0], needed, curves=curves)


def _plans(layout: StudyLayout) -> tuple[WavePlan, ...]:
    """Returns all plans; raises StudyError for a gap: its trials would be numbered and its waves submitted again."""
    waves = layout.waves()
    if waves != list(range(len(waves))):
        missing = next(index for index in range(len(waves)) if index != waves[index])
        raise StudyError(
            f"{layout.wave(missing).plan} is missing, but wave {waves[-1]} is planned; restore it from a backup "
            "(nothing was changed)"
        )
    return tuple(read_plan(layout.wave(index)) for index in waves)


def with_settlements(history: History, settled: Sequence[Settlement]) -> History:
    """Returns the history as it will be once another plan with `settled` is recorded. The planner decides by it."""
    changed = {settlement.trial for settlement in settled}
    return _folded_again(history, changed, settled, _folder(history.plans, history.orders))


def with_retries(history: History, retries: int) -> History:
    """Returns the history as it will be once a plan that allows so many failed attempts is recorded."""
    changed = {trial.number for trial in history.trials if trial.state in (TrialState.FAIL, TrialState.WAITING)}
    if not history.plans or retries == history.plans[-1].retries:
        return history
    return _folded_again(history, changed, (), _folder(history.plans, history.orders, retries))


def _folded_again(
    history: History, changed: Collection[int], settled: Sequence[Settlement], fold_one: _Fold
) -> History:
    settlements = _by_trial([*(plan.settled for plan in history.plans), settled])
    assigned = _assigned(history.plans)

    def again(trial: Trial) -> Trial:
        number = trial.number
        if number not in changed:
            return trial
        return fold_one(assigned[number], history.journals.get(number, ()), settlements.get(number, ()))

    return replace(history, trials=tuple(again(trial) for trial in history.trials))


def as_of(
    history: History,
    plans: tuple[WavePlan, ...],
    settled: Sequence[Settlement],
    time: float,
    in_flight: Collection[int],
    retries: int,
) -> History:
    """Returns the history as it was at `time`, when only these `plans` existed, as far as the records allow.

    `settled` are the settlements that were known then besides those of the plans, `retries` are those that were allowed
    then. For waves that were `in_flight` the
    history has only records that were written before `time` by the clocks of their nodes; for others it has all.
    """
    settlements = _by_trial([*(plan.settled for plan in plans), settled])
    journals = {}
    for number, attempts in history.journals.items():
        cut = (_cut(a, time) if a.wave in in_flight else a for a in attempts if a.wave < len(plans))
        if left := tuple(a for a in cut if a is not None):
            journals[number] = left
    assigned = sorted(_assigned(plans).items())
    orders = until(history.orders, time)
    fold_one = _folder(plans, orders, retries)
    trials = (fold_one(own, journals.get(n, ()), settlements.get(n, ())) for n, own in assigned)
    return History(plans, tuple(trials), journals, history.needed, orders)


def _cut(attempt: Attempt, time: float) -> Attempt | None:
    """Returns an attempt as it was known at `time`; None before it started."""
    if attempt.started_at > time:
        return None
    if attempt.ended_at is not None and attempt.ended_at <= time:
        return attempt
    reports = tuple(report for report in attempt.reports if report.time <= time)
    return replace(
        attempt,
        reports=reports,
        ended_at=None,
        outcome=None,
        cause=None,
        reason="",
        exit_code=None,
        metrics={},
        tail=(),
    )


_Fold = Callable[[Sequence[tuple[int, Assignment]], Sequence[Attempt], Sequence[Sequence[Settlement]]], Trial]


def _folder(plans: Sequence[WavePlan], orders: Sequence[RetryOrder], retries: int | None = None) -> _Fold:
    """Returns the function that computes a trial; the newest plan's `retries` count unless others are given."""
    known = excused(orders)

    def fold_one(
        assigned: Sequence[tuple[int, Assignment]],
        attempts: Sequence[Attempt],
        settlements: Sequence[Sequence[Settlement]],
    ) -> Trial:
        last = plans[-1]
        allowed = last.retries if retries is None else retries
        behind = known.get(assigned[0][1].trial, NO_ATTEMPTS)
        rules = last.max_resource, last.value_rules, behind
        return fold_trial(assigned, attempts, settlements, last.objectives, allowed, *rules)

    return fold_one


def had_ended(wave: int, last_wave: int, plans: Sequence[WavePlan]) -> bool:
    """True if all jobs of `wave` had ended when `last_wave` was planned."""
    return wave < last_wave < len(plans) and wave not in plans[last_wave].in_flight


def is_final(trial: Trial, attempts: Sequence[Attempt], had_wave_ended: bool) -> bool:
    """True if no record of the trial can have been written after `attempts`, so that its files need not be read.

    A completed trial is never run again. A failed trial may be, unless its wave had ended when `attempts` were read:
    Slurm requeues jobs after a node failure, or if an administrator requests it.
    """
    ended = all(attempt.outcome is not None for attempt in attempts)
    return ended and (trial.state is TrialState.COMPLETE or (trial.state.is_finished and had_wave_ended))


def _started(layout: StudyLayout) -> frozenset[int]:
    """Returns the numbers of the trials that have a directory, from one listing instead of one check per trial."""
    try:
        with os.scandir(layout.root / "trials") as entries:
            found = (number_of(entry.name, 5) for entry in entries)
            return frozenset(trial for trial in found if trial is not None)
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()


def _assigned(plans: Sequence[WavePlan]) -> dict[int, list[tuple[int, Assignment]]]:
    """Returns for each trial its assignments, each with its wave, in the order of waves."""
    found: dict[int, list[tuple[int, Assignment]]] = {}
    for plan in plans:
        for assignment in plan.assignments:
            found.setdefault(assignment.trial, []).append((plan.wave, assignment))
    return found


def _by_trial(plans: Iterable[Sequence[Settlement]]) -> dict[int, list[list[Settlement]]]:
    """Returns for each trial its settlements, one list per plan that has any."""
    found: dict[int, list[list[Settlement]]] = {}
    for plan in plans:
        here: dict[int, list[Settlement]] = {}
        for settlement in plan:
            here.setdefault(settlement.trial, []).append(settlement)
        for number, settlements in here.items():
            found.setdefault(number, []).append(settlements)
    return found


def _read_on(trial: TrialLayout, attempts: Sequence[Attempt], needed: Needed) -> tuple[Attempt, ...]:
    """Returns the trial's attempts: `attempts` with the newer records of its journals.

    A journal that the database knows is read even if a listing does not show it: network file systems list late.
    """
    known = {attempt.number: attempt for attempt in attempts}
    all_known = (known.get(n) or unread(n) for n in sorted({*known, *trial.attempts()}))
    return tuple(_read_tail(trial, attempt, needed) for attempt in all_known)


def _read_tail(trial: TrialLayout, attempt: Attempt, needed: Needed) -> Attempt:
    try:
        return read_on(trial.journal(attempt.number), attempt, needed)
    except FileNotFoundError:
        return attempt
