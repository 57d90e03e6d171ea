"""Parts a history: the trials that are over for good, and the open ones. Pure, but for `read_open`.

What is known of the first ones can be added up once; only the open ones are looked at again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container
from dataclasses import replace

from hposlurm.records import database
from hposlurm.records.gc_pause import gc_paused
from hposlurm.records.history import History, had_ended, history_of, is_final
from hposlurm.records.layout import StudyLayout
from hposlurm.records.plan import WavePlan
from hposlurm.records.thinning import Needed
from hposlurm.trial import Trial


def final_trials(history: History) -> frozenset[int]:
    """Returns the trials that no later record of their own can change, nor any element that may still start."""
    plans = history.plans
    last_wave = {a.trial: plan.wave for plan in plans for a in plan.assignments}
    waiting = Counter((plan.wave, a.trial) for plan in history.in_flight for a in plan.assignments)
    for trial in history.trials:
        waiting.subtract((wave, trial.number) for wave, _ in {(a.wave, a.index) for a in trial.attempts})
    may_start = {number for (_, number), count in waiting.items() if count > 0}

    def is_over(trial: Trial) -> bool:
        attempts = history.journals.get(trial.number, ())
        is_known = bool(attempts) and all(attempt.wave < len(plans) for attempt in trial.attempts)
        ended = had_ended(last_wave[trial.number], plans[-1].wave, plans)
        return is_known and trial.number not in may_start and is_final(trial, attempts, ended)

    return frozenset(trial.number for trial in history.trials if is_over(trial))


def without(history: History, final: Container[int]) -> History:
    """Returns the history without the trials in `final`, which `plans_without` leaves out of its plans, too."""
    return replace(
        history,
        plans=plans_without(history.plans, final),
        trials=tuple(trial for trial in history.trials if trial.number not in final),
        journals={number: own for number, own in history.journals.items() if number not in final},
    )


def plans_without(plans: tuple[WavePlan, ...], final: Container[int]) -> tuple[WavePlan, ...]:
    """Returns the plans without the trials in `final`, without jobs that had no trial, and without earlier notes.

    A wave in flight keeps all assignments: their number is that of its jobs. That of a refill wave is known otherwise.
    """
    in_flight = {wave.wave for wave in History(plans=plans).in_flight}
    return tuple(
        replace(
            plan,
            assignments=tuple(
                a for a in plan.assignments if a.trial not in final or (plan.wave in in_flight and not plan.elements)
            ),
            settled=tuple(s for s in plan.settled if s.trial not in final and s.trial >= 0),
            notes=plan.notes if plan is plans[-1] else (),
        )
        for plan in plans
    )


@gc_paused()
def read_open(layout: StudyLayout, plans: tuple[WavePlan, ...], final: Container[int], needed: Needed) -> History:
    """Reads the history of the open trials: those that `plans` assign and that are not in `final`.

    `plans` are as `plans_without` leaves them. Raises StudyError if an order to run trials again is damaged.
    """
    own = tuple(replace(plan, assignments=tuple(a for a in plan.assignments if a.trial not in final)) for plan in plans)
    numbers = {a.trial for plan in own for a in plan.assignments}
    known = database.read_snapshot(layout.database, plans[0], needed, numbers) if numbers else database.Snapshot()
    return replace(history_of(layout, own, needed, known, numbers), plans=plans)
