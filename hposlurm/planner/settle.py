"""What the end of a job means to the study: result record first, the accounting second, the queue third, and unknown is
never a failure. Pure functions; the planner keeps what they return in the next wave's plan.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hposlurm.backend import DRIVER_ENDED, ArrayJob, ElementState, Usage
from hposlurm.records.cause_text import sentence
from hposlurm.records.history import History
from hposlurm.records.plan import WavePlan
from hposlurm.records.retries import ended_by, makes_progress, reached
from hposlurm.trial import DONE, NO_TRIAL, Assignment, Attempt, Cause, EndCause, JobState, Outcome, Settlement

#: What each element of a wave runs, by its index.
Bound = Mapping[int, Assignment]


@dataclass(frozen=True, slots=True)
class EndState:
    """What it means that a job ended so: INTERRUPTED is a free retry, FAIL a counted one, the others are for good.

    `without_progress` is the outcome where the attempt got no further than those before it.
    """

    outcome: Outcome
    cause: Cause
    without_progress: Outcome | None = None


# The one table: how an attempt that left no end record ended, by what the cluster says of its job.
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
    """The job id of each of the wave's elements, in order."""
    return [next((e for a in arrays if (e := a.element(i))), "") for i in range(plan.size)]


def attempts_of(plan: WavePlan, history: History, bound: Bound, index: int) -> list[Attempt]:
    """The attempts that element `index` of the wave made, oldest first."""
    if index not in bound:
        return []
    trial = history.trial(bound[index].trial)
    return [a for a in trial.attempts if a.wave == plan.wave and a.index == index]


def unfinished(plan: WavePlan, history: History, bound: Bound) -> list[int]:
    """Indices of the elements whose records alone do not say that they have ended for good."""
    final = (Outcome.COMPLETE, Outcome.PRUNED, Outcome.FAIL, Outcome.INFEASIBLE)
    return [
        index
        for index in range(plan.size)
        if not (mine := attempts_of(plan, history, bound, index)) or mine[-1].outcome not in final
    ]


def crashed(plan: WavePlan, history: History, bound: Bound) -> list[int]:
    """Indices of the elements whose command failed, for a reason that perhaps only the state of the job tells."""
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
    log_tail: Callable[[str], str] = lambda _: "",
) -> tuple[Settlement, ...]:
    """What is decided about every attempt of an ended wave. Elements that still run must not be in it.

    `bound` is what each of its elements runs, None for what was planned; elements without an entry ran nothing.
    After a cancelled study is resumed (`after_cancel`), what was cancelled with it goes on; otherwise a cancelled
    element is a trial that a person took out. Elements that were submitted before the plan (`is_late`) and saw none of
    it ended for nobody's fault. `log_tail` gives the last words of an element that never started.
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
            settled.append(_never_started(element, after_cancel, is_late, is_done, log_tail))
        for attempt in mine:
            until_then = everything[: everything.index(attempt) + 1]
            found = _settled(element, until_then, is_last=attempt is mine[-1], after_cancel=after_cancel)
            settled += [found] if found else []
    return tuple(settled)


@dataclass(frozen=True, slots=True)
class _Element:
    """One array element that has ended, and what the cluster says of it: in the end, and of each of its runs."""

    plan: WavePlan
    assignment: Assignment
    job_id: str
    state: JobState
    runs: Sequence[Usage]
    detail: str = ""

    @property
    def trial(self) -> int:
        return self.assignment.trial

    def cause(self, found: EndCause) -> EndCause:
        """Returns `found`, unless that is a node: of a study on one machine it was the driving process that ended."""
        is_driver = found.kind is Cause.NODE_FAILED and self.detail == DRIVER_ENDED
        return EndCause(Cause.DRIVER_ENDED) if is_driver else found

    def run(self, attempt: Attempt) -> Usage | None:
        return self.runs[attempt.restart] if attempt.restart < len(self.runs) else None


def _settled(element: _Element, attempts: Sequence[Attempt], *, is_last: bool, after_cancel: bool) -> Settlement | None:
    """What is decided about the last of `attempts`, a part of the trial's; None if there is nothing to add."""
    attempt = attempts[-1]
    run = element.run(attempt)
    state = run.state if run else element.state if is_last else JobState.UNKNOWN
    if is_last and element.state is JobState.CANCELLED:
        state = element.state  # it may have been requeued and cancelled before it ran again
    verdict = _verdict(attempts, state, is_last=is_last, after_cancel=after_cancel)
    limit_s = element.assignment.time_limit_s
    if verdict and verdict[1].kind is Cause.TIME_LIMIT and limit_s is not None:
        # it had the time of its part of the training, which was a guess; the next attempt has all of it
        verdict = Outcome.INTERRUPTED, EndCause(Cause.TIME_LIMIT, limit_s=limit_s)
    if verdict is None and run is None:
        return None
    outcome, cause = (None, None) if verdict is None else (verdict[0], element.cause(verdict[1]))
    # the kernel kills one process: what the worker saw of that does not tell why, and is quoted
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
    """The time that elements had GPUs for nothing, as far as the accounting knows it: it is of the budget too."""
    runs = [run for index, job_id in enumerate(ids) if index not in bound for run in usage.get(job_id, ())]
    elapsed_s = sum(run.elapsed_s * run.gpus for run in runs) / max(1, plan.gpus)
    if not elapsed_s:
        return []
    cause = EndCause(Cause.NOTHING_TO_DO, count=len(runs))
    idle = Settlement(NO_TRIAL, None, plan.wave, "", JobState.COMPLETED, elapsed_s, plan.gpus)
    return [replace(idle, cause=cause, reason=sentence(cause))]


def unsettled(history: History, in_flight: Collection[int]) -> list[tuple[int, Attempt]]:
    """Attempts (with their trial's number) of waves other than `in_flight` whose allocated time is not known yet."""
    return [
        (trial.number, attempt)
        for trial in history.trials
        for attempt in trial.attempts
        if attempt.wave not in in_flight and attempt.elapsed_s is None and attempt.job_id
    ]


def settle_late(late: Sequence[tuple[int, Attempt]], usage: Mapping[str, Sequence[Usage]]) -> list[Settlement]:
    """What the accounting knows by now of attempts of earlier waves: their time alone, not their outcome."""
    found = []
    for number, attempt in late:
        runs = usage.get(attempt.job_id, ())
        if attempt.restart < len(runs):
            run = runs[attempt.restart if attempt.number >= 0 else -1]
            # without a journal, all runs of the element: none of them reached its worker
            elapsed_s = run.elapsed_s if attempt.number >= 0 else sum(r.elapsed_s for r in runs)
            found.append(
                Settlement(number, attempt.number, attempt.wave, attempt.job_id, run.state, elapsed_s, run.gpus)
            )
    return found


def _verdict(
    attempts: Sequence[Attempt], state: JobState, *, is_last: bool, after_cancel: bool
) -> tuple[Outcome, EndCause] | None:
    """Returns the outcome and cause that override the own record of the last of `attempts`; None keeps that.

    Its job ended in `state`.
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
    """Returns what it means that the job of the last of `attempts` ended in `state`."""
    end = END_STATES[state]
    if end.outcome is Outcome.DROPPED and after_cancel:
        return Outcome.INTERRUPTED, EndCause(Cause.STUDY_CANCELLED)
    if end.without_progress is None or makes_progress(attempts):
        return end.outcome, EndCause(end.cause)
    has_checkpoint = any(a.checkpoints for a in attempts)
    return end.without_progress, EndCause(end.cause, step=reached(attempts), has_checkpoint=has_checkpoint)


def _never_started(
    element: _Element, after_cancel: bool, is_late: bool, is_done: bool, log_tail: Callable[[str], str]
) -> Settlement:
    """Returns the settlement of an element whose last run (or every run) ended before its worker started."""
    outcome, cause = _meaning((), element.state, after_cancel)
    if is_late and element.state is JobState.COMPLETED:
        outcome, cause = Outcome.INTERRUPTED, EndCause(Cause.TOO_EARLY)
    elif is_done and element.state is JobState.COMPLETED:
        outcome, cause = Outcome.INTERRUPTED, EndCause(Cause.ALREADY_ENDED)
    if outcome in (Outcome.FAIL, Outcome.INFEASIBLE):  # no configuration keeps the worker itself from starting
        said = log_tail(element.job_id)
        outcome, cause = Outcome.FAIL, EndCause(Cause.WORKER_NOT_STARTED, job_state=element.state, detail=said)
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


def last_words(log: Path, limit: int = 300) -> str:
    """The end of a log as one line; empty if there is none."""
    try:
        text = log.read_bytes()[-4096:].decode(errors="replace")
    except OSError:
        return ""
    return " / ".join(line.strip() for line in text.splitlines() if line.strip())[-limit:]
