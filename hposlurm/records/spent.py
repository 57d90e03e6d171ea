"""Computes what a study has used of its budget at one moment, from its records. Pure, standard library only.

GPU hours are reserved before they are used: from its plan on, an element counts with all that it may use (its GPUs
until its time limit), and with what it was allocated once that is known. Clocks of different nodes are never compared
where that could let a study use more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from hposlurm.records.assignment import NO_TRIAL
from hposlurm.records.history import History
from hposlurm.records.plan import WavePlan, closing_plans
from hposlurm.records.ranking import keeps, losses
from hposlurm.space.metric_constraints import NO_LIMITS, Limits
from hposlurm.trial import Attempt, Objective, Trial, TrialState


@dataclass(frozen=True, slots=True)
class Spent:
    """The resources that a study has used at one moment."""

    trials: int
    #: of all attempts, including failures and retries; of running attempts until now
    gpu_hours: float
    #: what running and waiting elements may use in addition
    reserved_gpu_hours: float
    #: since the first plan
    wall_s: float
    #: how many trials finished after the last one that improved the first objective
    stale: int
    #: the first objective's best value, as reported, among the completed trials that keep the limits; None without any
    best: float | None = None


@dataclass(frozen=True, slots=True)
class Milestone:
    """The finished trial that improved the first objective last."""

    #: the objective's value so that less is better, and as reported
    loss: float
    value: float
    #: its last wave
    wave: int
    trial: int

    @property
    def order(self) -> tuple[float, int, int]:
        """Orders milestones: the best one, and of equal ones the earliest."""
        return self.loss, self.wave, self.trial


@dataclass(frozen=True, slots=True)
class Past:
    """The use of trials that are over for good and not part of a history, in sum."""

    trials: int = 0
    gpu_s: float = 0.0
    #: the numbers of the finished ones by their last wave, as ranges with both ends
    finished: Mapping[str, tuple[tuple[int, int], ...]] = field(default_factory=dict)
    best: Milestone | None = None


NO_PAST = Past()


def spent(
    history: History,
    objectives: Sequence[Objective],
    now: float,
    *,
    still_open: Collection[int] | None = None,
    limits: Limits = NO_LIMITS,
    past: Past = NO_PAST,
) -> Spent:
    """Returns what the study has used at `now` (epoch seconds by the planner's clock).

    Of the waves in flight only those in `still_open` (None: all) have elements that may still start; an element of
    another wave without any record was never submitted. A trial that breaks one of the `limits` improves nothing.
    `past` is the use of trials that the history is without.
    """
    plans = history.plans
    waiting = _waiting(history, [p for p in history.in_flight if still_open is None or p.wave in still_open])
    seconds = [(past.gpu_s, 0.0), *_attempts(history, now), *_for_nothing(history), *waiting]
    used_s, reserved_s = sum(used for used, _ in seconds), sum(kept for _, kept in seconds)
    stale, best = _progress(history, objectives, limits, past)
    return Spent(
        trials=past.trials + len(history.trials),
        gpu_hours=used_s / 3600,
        reserved_gpu_hours=reserved_s / 3600,
        wall_s=max(0.0, now - plans[0].created_at) if plans else 0.0,
        stale=stale,
        best=best,
    )


def clock(seconds: float) -> str:
    """Returns hours, minutes and seconds as Slurm writes them: 6:02:10, 2-00:00:00."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    return f"{days}-{hour:02d}:{minute:02d}:{second:02d}" if days else f"{hour}:{minute:02d}:{second:02d}"


def _attempts(history: History, now: float) -> Iterator[tuple[float, float]]:
    """Yields, for every attempt, the GPU seconds that it used and those that it may still use."""
    ends = {wave: plan.created_at for wave, plan in closing_plans(history.plans).items()}
    limits = _limits(history)
    for trial in history.trials:
        own_ends = {a.number: a.ended_at for a in history.journals.get(trial.number, ())}
        for position, attempt in enumerate(trial.attempts):
            if attempt.wave >= len(history.plans):
                continue  # its start record is not readable yet: the element counts as waiting
            until = ends.get(attempt.wave, now)
            following = trial.attempts[position + 1 : position + 2]
            if following and following[0].wave == attempt.wave:
                until = following[0].started_at
            limit_s = limits.get((attempt.wave, trial.number), history.plans[attempt.wave].time_limit_s)
            used_s, reserved_s = _seconds(attempt, own_ends.get(attempt.number), limit_s, until, now)
            yield used_s * attempt.gpus, reserved_s * attempt.gpus


def _for_nothing(history: History) -> Iterator[tuple[float, float]]:
    """Yields the same for array elements that had no trial."""
    for plan in history.plans:
        for settlement in plan.settled:
            if settlement.trial == NO_TRIAL:
                yield (settlement.elapsed_s or 0.0) * settlement.gpus, 0.0


def _limits(history: History) -> dict[tuple[int, int], float]:
    """Returns the time limits of elements, by wave and trial, where they differ from the wave's."""
    return {
        (plan.wave, assignment.trial): assignment.time_limit_s
        for plan in history.plans
        for assignment in plan.assignments
        if assignment.time_limit_s is not None
    }


def _waiting(history: History, in_flight: Iterable[WavePlan]) -> Iterator[tuple[float, float]]:
    """Yields the same for every assignment of these waves that no element has started."""
    trials = {trial.number: trial for trial in history.trials}
    for plan in in_flight:
        limits = {a.trial: a.time_limit_s for a in plan.assignments if a.time_limit_s is not None}
        numbers = (assignment.trial for assignment in plan.assignments if assignment.trial in trials)
        for number, count in Counter(numbers).items():
            attempts = trials[number].attempts
            started = len({attempt.index for attempt in attempts if attempt.wave == plan.wave})
            for _ in range(count - started):
                yield 0.0, plan.gpus * (limits.get(number, plan.time_limit_s) or 0.0)


def _seconds(
    attempt: Attempt, own_end: float | None, limit_s: float | None, until: float, now: float
) -> tuple[float, float]:
    """Returns how many seconds an attempt had its GPUs, and for how many more it may have them.

    The accounting's elapsed time is used if it is known, else the worker's own records. An attempt that was killed
    without an end record counts until the next attempt or plan, but at most until its job's time limit.
    """
    if attempt.elapsed_s is not None:
        return attempt.elapsed_s, 0.0
    if attempt.number < 0:
        return 0.0, 0.0  # it ended before its worker started
    if attempt.outcome is None:
        so_far = max(0.0, now - attempt.started_at)
        so_far = so_far if limit_s is None else min(so_far, limit_s)
        return so_far, 0.0 if limit_s is None else limit_s - so_far
    if own_end is not None:
        return max(0.0, own_end - attempt.started_at), 0.0
    last_sign = max([attempt.started_at, *(report.time for report in attempt.reports)])
    lasted = max(last_sign, until) - attempt.started_at
    return lasted if limit_s is None else min(lasted, limit_s), 0.0


def _progress(
    history: History, objectives: Sequence[Objective], limits: Limits, past: Past
) -> tuple[int, float | None]:
    """Returns how many trials finished after the last improvement, in the order of waves, and the best value.

    No clock decides the order.
    """
    finished = [trial for trial in history.trials if trial.state.is_finished]
    improved = _milestone(finished, objectives, limits)
    known = [each for each in (past.best, improved) if each is not None]
    if not known:
        return len(finished) + _count_after(past, (-1, -1)), None
    last = min(known, key=lambda each: each.order)
    after = sum(_order(trial) > (last.wave, last.trial) for trial in finished)
    return after + _count_after(past, (last.wave, last.trial)), last.value


def _milestone(trials: Iterable[Trial], objectives: Sequence[Objective], limits: Limits) -> Milestone | None:
    """Returns the last improvement among finished trials: the best one, and of equal ones the earliest."""
    found = (
        Milestone(losses(trial, objectives)[0], trial.values[0], *_order(trial))
        for trial in trials
        if trial.state is TrialState.COMPLETE and trial.values is not None and keeps(trial, limits)
    )
    return min(found, key=lambda each: each.order, default=None)


def _count_after(past: Past, order: tuple[int, int]) -> int:
    """Returns how many of the past's finished trials come after that wave and that trial."""
    wave, trial = order
    return sum(
        max(0, last - (max(first, trial + 1) if int(own) == wave else first) + 1)
        for own, ranges in past.finished.items()
        if int(own) >= wave
        for first, last in ranges
    )


def past_of(history: History, trials: Sequence[Trial], objectives: Sequence[Objective], limits: Limits) -> Past:
    """Returns the use of `trials` of `history`, and of its jobs that had no trial.

    Their attempts must all have ended for good, so that no moment matters.
    """
    seconds = [*_attempts(replace(history, trials=tuple(trials)), 0.0), *_for_nothing(history)]
    finished: dict[str, list[int]] = {}
    for trial in trials:
        finished.setdefault(str(_order(trial)[0]), []).append(trial.number)
    return Past(
        trials=len(trials),
        gpu_s=sum(used for used, _ in seconds),
        finished={wave: ranges_of(numbers) for wave, numbers in finished.items()},
        best=_milestone(trials, objectives, limits),
    )


def ranges_of(numbers: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Returns ascending numbers as ranges with both ends."""
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return tuple(found)


def _order(trial: Trial) -> tuple[int, int]:
    return max((attempt.wave for attempt in trial.attempts), default=trial.wave), trial.number
