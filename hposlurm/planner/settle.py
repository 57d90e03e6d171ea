"""Decides what the end of a job means to the study. Pure functions; the next wave's plan records their results.

The result record comes first, the accounting second and the queue third. An unknown state is never a failure.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hposlurm.backend import DRIVER_ENDED, ArrayJob, ElementState, Usage
from hposlurm.records.assignment import NO_TRIAL, Assignment, Settlement
from hposlurm.records.cause_text import sentence
from hposlurm.records.history import History
from hposlurm.records.plan import WavePlan
from hposlurm.records.reading import read_end
from hposlurm.records.retries import ended_by, makes_progress, reached
from hposlurm.trial import DONE, Attempt, Cause, EndCause, JobState, Outcome

#: The assignment of each element of a wave, by the element's index.
Bound = Mapping[int, Assignment]


@dataclass(frozen=True, slots=True)
class EndState:
    """The meaning of a job's final state for its attempt."""

    #: INTERRUPTED is a free retry, FAIL a counted one; every other outcome is final.
    outcome: Outcome
    cause: Cause
    #: The outcome if the attempt got no further than the earlier ones; None means `outcome`.
    without_progress: Outcome | None = None


# The only table of how an attempt without an end record ended, by the state of its job.
END_STATES: dict[JobState, EndState] = {
    JobState.COMPLETED: EndState(Outcome.FAIL, Cause.JOB_ENDED_SILENTLY),
    JobState.FAILED: EndState(Outcome.FAIL, Cause.JOB_FAILED),
    JobState.OUT_OF_MEMORY: EndState(Outcome.INFEASIBLE, Cause.OUT_OF_HOST_MEMORY),
    JobState.TIMEOUT: EndState(Outcome.INTERRUPTED, Cause.TIME_LIMIT, Outcome.FAIL),
    JobState.PREEMPTED: EndState(Outcome.INTERRUPTED, Cause.PREEMPTED),
    JobState.NODE_FAIL: EndState(Outcome.INTERRUPTED, Cause.NODE_FAILED),
    JobState.CANCELLED: EndState(Outcome.DROPPED, Cause.CANCELLED),
    JobState.UNKNOWN: EndState(Outcome.INTERRUPTED, Cause.LOST),
}


def element_ids(plan: WavePlan, arrays: Sequence[ArrayJob]) -> list[str]:
    """Returns the job id of each of the wave's elements, in order; "" for an element that was not submitted."""
    return [next((e for a in arrays if (e := a.element(i))), "") for i in range(plan.size)]


def attempts_of(plan: WavePlan, history: History, bound: Bound, index: int) -> list[Attempt]:
    """Returns the attempts of element `index` of the wave, oldest first."""
    if index not in bound:
        return []
    trial = history.trial(bound[index].trial)
    return [a for a in trial.attempts if a.wave == plan.wave and a.index == index]


def unfinished(plan: WavePlan, history: History, bound: Bound) -> list[int]:
    """Returns the indices of the elements whose own records do not show that they have ended for good."""
    final = (Outcome.COMPLETE, Outcome.PRUNED, Outcome.FAIL, Outcome.INFEASIBLE)
    return [
        index
        for index in range(plan.size)
        if not (mine := attempts_of(plan, history, bound, index)) or mine[-1].outcome not in final
    ]


def crashed(plan: WavePlan, history: History, bound: Bound) -> list[int]:
    """Returns the indices of the elements whose command failed. Only the state of the job may show the reason."""
    lasts = ((index, attempts_of(plan, history, bound, index)) for index in sorted(bound))
    return [index for index, mine in lasts if mine and mine[-1].outcome is Outcome.FAIL and mine[-1].exit_code != 0]


def settle(
    plan: WavePlan,
    history: History,
    ids: Sequence[str],
    states: Mapping[str, ElementState],
    usage: Mapping[str, Sequence[Usage]],
    *,
    bound: Bound | None = None,
    after_cancel: bool = False,
    is_late: bool = False,
    is_paused: bool = False,
    log_tail: Callable[[str], str] = lambda _: "",
) -> tuple[Settlement, ...]:
    """Returns the settlements of every attempt of an ended wave, which must not have elements that still run.

    `bound` has the assignment of each element, None means as planned; elements without an entry ran nothing. If a
    cancelled study was resumed (`after_cancel`), the trials that were cancelled with it continue; otherwise a cancelled
    element means that a person cancelled its trial. Elements that were submitted before the plan (`is_late`) and did
    not see it are interrupted, not failed, and so are elements that ran nothing in a wave that `is_paused`. `log_tail`
    returns the end of the log of an element that never started.
    """
    settled: list[Settlement] = []
    bound = dict(enumerate(plan.assignments)) if bound is None else bound
    for index, assignment in sorted(bound.items()):
        if not ids[index]:
            continue  # never submitted: there was no attempt
        known = states.get(ids[index], ElementState(JobState.UNKNOWN))
        runs = usage.get(ids[index], ())
        mine = attempts_of(plan, history, bound, index)
        element = _Element(plan, assignment, ids[index], known.state, runs, known.detail)
        everything = history.trial(assignment.trial).attempts
        started = frozenset(attempt.restart for attempt in mine)
        silent = [i for i in range(len(runs)) if i not in started]
        is_last_silent = not mine or (bool(silent) and silent[-1] > max(started))
        settled += [_silent_run(element, runs[i]) for i in (silent[:-1] if is_last_silent else silent)]
        if is_last_silent:
            is_done = any(a.outcome in DONE and a.stage >= assignment.stage for a in everything)
            free = _free_end(is_late=is_late, is_done=is_done, is_paused=is_paused)
            settled.append(_never_started(element, after_cancel, free, log_tail))
        for attempt in mine:
            until_then = everything[: everything.index(attempt) + 1]
            found = _settled(element, until_then, is_last=attempt is mine[-1], after_cancel=after_cancel)
            settled += [found] if found else []
    return tuple(settled)


@dataclass(frozen=True, slots=True)
class _Element:
    """One array element that has ended."""

    plan: WavePlan
    assignment: Assignment
    job_id: str
    #: Its state at the end.
    state: JobState
    #: The accounting of each of its runs.
    runs: Sequence[Usage]
    #: The cluster's own word beside the state.
    detail: str = ""

    @property
    def trial(self) -> int:
        return self.assignment.trial

    def cause(self, found: EndCause) -> EndCause:
        """Returns `found`, or DRIVER_ENDED instead of a failed node if the process that drove a local study ended."""
        is_driver = found.kind is Cause.NODE_FAILED and self.detail == DRIVER_ENDED
        return EndCause(Cause.DRIVER_ENDED) if is_driver else found

    def run(self, attempt: Attempt) -> Usage | None:
        return self.runs[attempt.restart] if attempt.restart < len(self.runs) else None


def _settled(element: _Element, attempts: Sequence[Attempt], *, is_last: bool, after_cancel: bool) -> Settlement | None:
    """Returns the settlement of the last of `attempts`, the trial's attempts so far.

    None if there is nothing to add.
    """
    attempt = attempts[-1]
    run = element.run(attempt)
    state = run.state if run else element.state if is_last else JobState.UNKNOWN
    if is_last and element.state is JobState.CANCELLED:
        state = element.state  # it may have been requeued and cancelled before it ran again
    override = _override(attempts, state, is_last=is_last, after_cancel=after_cancel)
    limit_s = element.assignment.time_limit_s
    if override and override[1].kind is Cause.TIME_LIMIT and limit_s is not None:
        # the limit was an estimate for its part of the training; the next attempt gets the full time
        override = Outcome.INTERRUPTED, EndCause(Cause.TIME_LIMIT, limit_s=limit_s)
    if override is None and run is None:
        return None
    outcome, cause = (None, None) if override is None else (override[0], element.cause(override[1]))
    # the kernel kills one process: the worker saw only that process end, and its sentence is quoted
    quoted = attempt.reason if cause is not None and cause.kind is Cause.OUT_OF_HOST_MEMORY else ""
    return Settlement(
        trial=element.trial,
        attempt=attempt.number,
        wave=element.plan.wave,
        job_id=element.job_id,
        state=run.state if run else state,
        elapsed_s=run.elapsed_s if run else None,
        gpus=run.gpus if run else attempt.gpus,
        outcome=outcome,
        reason=sentence(cause, quoted),
        cause=cause,
    )


def without_trial(
    plan: WavePlan, bound: Bound, ids: Sequence[str], usage: Mapping[str, Sequence[Usage]]
) -> list[Settlement]:
    """Returns the settlement of the time that elements without a trial held GPUs, which the budget pays for too.

    The time is that of the accounting; [] if it has none.
    """
    runs = [run for index, job_id in enumerate(ids) if index not in bound for run in usage.get(job_id, ())]
    elapsed_s = sum(run.elapsed_s * run.gpus for run in runs) / max(1, plan.gpus)
    if not elapsed_s:
        return []
    cause = EndCause(Cause.NOTHING_TO_DO, count=len(runs))
    idle = Settlement(NO_TRIAL, None, plan.wave, "", JobState.COMPLETED, elapsed_s, plan.gpus)
    return [replace(idle, cause=cause, reason=sentence(cause))]


def unsettled(history: History, in_flight: Collection[int]) -> list[tuple[int, Attempt]]:
    """Returns (trial, attempt) for attempts of ended waves (not `in_flight`) without an allocated time so far."""
    return [
        (trial.number, attempt)
        for trial in history.trials
        for attempt in trial.attempts
        if attempt.wave not in in_flight and attempt.elapsed_s is None and attempt.job_id
    ]


def settle_late(late: Sequence[tuple[int, Attempt]], usage: Mapping[str, Sequence[Usage]]) -> list[Settlement]:
    """Returns the settlements of attempts of earlier waves whose accounting is new: only their time, no outcome."""
    found = []
    for number, attempt in late:
        runs = usage.get(attempt.job_id, ())
        if attempt.restart < len(runs):
            run = runs[attempt.restart if attempt.number >= 0 else -1]
            # without a journal, all runs of the element count: none of them reached its worker
            elapsed_s = run.elapsed_s if attempt.number >= 0 else sum(r.elapsed_s for r in runs)
            found.append(
                Settlement(number, attempt.number, attempt.wave, attempt.job_id, run.state, elapsed_s, run.gpus)
            )
    return found


def _override(
    attempts: Sequence[Attempt], state: JobState, *, is_last: bool, after_cancel: bool
) -> tuple[Outcome, EndCause] | None:
    """Returns the outcome and cause that override the end record of the last of `attempts`; None if that record stays.

    The attempt's job ended in `state`.
    """
    attempt = attempts[-1]
    if attempt.outcome is None:
        return _meaning(attempts, state, after_cancel)
    if attempt.outcome is Outcome.FAIL and state is JobState.OUT_OF_MEMORY and attempt.exit_code != 0:
        return END_STATES[state].outcome, EndCause(END_STATES[state].cause)
    if attempt.outcome is not Outcome.INTERRUPTED:
        return None
    if is_last and state is JobState.CANCELLED:
        return _meaning(attempts, state, after_cancel)
    if state is JobState.TIMEOUT or ended_by(attempt, Cause.TIME_LIMIT_AHEAD):
        return _meaning(attempts, JobState.TIMEOUT, after_cancel)
    return None


def _meaning(attempts: Sequence[Attempt], state: JobState, after_cancel: bool) -> tuple[Outcome, EndCause]:
    """Returns the outcome and cause of the last of `attempts` whose job ended in `state`."""
    end = END_STATES[state]
    if end.outcome is Outcome.DROPPED and after_cancel:
        return Outcome.INTERRUPTED, EndCause(Cause.STUDY_CANCELLED)
    if end.without_progress is None or makes_progress(attempts):
        return end.outcome, EndCause(end.cause)
    has_checkpoint = any(a.checkpoints for a in attempts)
    return end.without_progress, EndCause(end.cause, step=reached(attempts), has_checkpoint=has_checkpoint)


def _free_end(*, is_late: bool, is_done: bool, is_paused: bool) -> Cause | None:
    """Returns why a worker may have ended well without an attempt; None if it may not."""
    if is_paused:
        return Cause.STUDY_PAUSED
    return Cause.TOO_EARLY if is_late else Cause.ALREADY_ENDED if is_done else None


def _never_started(
    element: _Element, after_cancel: bool, free: Cause | None, log_tail: Callable[[str], str]
) -> Settlement:
    """Returns the settlement of an element whose last run (or every run) ended before its worker started.

    `free` is why a completed job may have run nothing.
    """
    outcome, cause = _meaning((), element.state, after_cancel)
    if free is not None and element.state is JobState.COMPLETED:
        outcome, cause = Outcome.INTERRUPTED, EndCause(free)
    if outcome in (Outcome.FAIL, Outcome.INFEASIBLE):  # no configuration can prevent the worker itself from starting
        detail = log_tail(element.job_id)
        outcome, cause = Outcome.FAIL, EndCause(Cause.WORKER_NOT_STARTED, job_state=element.state, detail=detail)
    cause = element.cause(cause)
    settlement = _silent_run(element, element.runs[-1] if element.runs else None)
    return replace(settlement, state=element.state, outcome=outcome, cause=cause, reason=sentence(cause))


def _silent_run(element: _Element, run: Usage | None) -> Settlement:
    """Returns the settlement of a run whose worker wrote nothing, and after which the element was requeued."""
    state = run.state if run else element.state
    cause = EndCause(Cause.WORKER_NOT_STARTED, job_state=state)
    return Settlement(
        trial=element.trial,
        attempt=None,
        wave=element.plan.wave,
        job_id=element.job_id,
        state=state,
        elapsed_s=run.elapsed_s if run else None,
        gpus=run.gpus if run else element.plan.gpus,
        outcome=Outcome.INTERRUPTED,
        reason=sentence(cause),
        cause=cause,
        node=run.node if run else "",
    )


def log_end(log: Path, limit: int = 300) -> str:
    """Returns the end of a log as one line, at most `limit` characters; "" if there is no log."""
    try:
        text = read_end(log, 4096).decode(errors="replace")
    except OSError:
        return ""
    return " / ".join(line.strip() for line in text.splitlines() if line.strip())[-limit:]
