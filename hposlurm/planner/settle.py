"""What the end of a job means to the study: result record first, Slurm's word second, and unknown is never a failure
before its grace time is over. Pure functions; the planner keeps what they return in the next wave's plan.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from hposlurm.backend import ArrayJob, ElementState, Usage
from hposlurm.history import History
from hposlurm.plan import WavePlan
from hposlurm.trial import Assignment, Attempt, JobState, Outcome, Settlement

# The one table: how an attempt that left no end record ended, by what the cluster says of its job.
END_STATES: dict[JobState, tuple[Outcome, str]] = {
    JobState.COMPLETED: (Outcome.FAIL, "the job ended without a result record"),
    JobState.FAILED: (Outcome.FAIL, "the job failed without a result record"),
    JobState.OUT_OF_MEMORY: (Outcome.FAIL, "out of memory: the job used more than resources.mem_gb"),
    JobState.TIMEOUT: (Outcome.FAIL, "time limit: the job used up resources.time"),
    JobState.PREEMPTED: (Outcome.INTERRUPTED, "preempted"),
    JobState.NODE_FAIL: (Outcome.INTERRUPTED, "its node failed"),
    JobState.CANCELLED: (Outcome.DROPPED, "cancelled"),
    JobState.UNKNOWN: (Outcome.FAIL, "lost: no result record, and the cluster does not know the job any more"),
}
_TIME_LIMIT_SIGNAL = "SIGUSR2"


def element_ids(plan: WavePlan, arrays: Sequence[ArrayJob]) -> list[str]:
    """The job id of each of the wave's elements, in order."""
    return [next((e for a in arrays if (e := a.element(i))), "") for i in range(len(plan.assignments))]


def attempts_of(plan: WavePlan, history: History, index: int) -> list[Attempt]:
    """The attempts that element `index` of the wave made, oldest first."""
    trial = history.trial(plan.assignments[index].trial)
    return [a for a in trial.attempts if a.wave == plan.wave and a.index == index]


def unfinished(plan: WavePlan, history: History) -> list[int]:
    """Indices of the elements whose records alone do not say that they have ended for good."""
    final = (Outcome.COMPLETE, Outcome.FAIL)
    return [
        index
        for index in range(len(plan.assignments))
        if not (mine := attempts_of(plan, history, index)) or mine[-1].outcome not in final
    ]


def settle(
    plan: WavePlan,
    history: History,
    ids: Sequence[str],
    states: Mapping[str, ElementState],
    usage: Mapping[str, Sequence[Usage]],
    *,
    after_cancel: bool = False,
    log_tail: Callable[[str], str] = lambda _: "",
) -> tuple[Settlement, ...]:
    """What is decided about every attempt of an ended wave. Elements that still run must not be in it.

    After a cancelled study is resumed (`after_cancel`), what was cancelled with it goes on; otherwise a cancelled
    element is a trial that a person took out. `log_tail` gives the last words of an element that never started.
    """
    settled: list[Settlement] = []
    for index, assignment in enumerate(plan.assignments):
        state = states.get(ids[index], ElementState(JobState.UNKNOWN)).state
        runs = usage.get(ids[index], ())
        mine = attempts_of(plan, history, index)
        if not mine:
            settled.append(_never_started(plan, assignment, ids[index], state, runs, after_cancel, log_tail))
        for attempt in mine:
            verdict = _verdict(attempt, state, is_last=attempt is mine[-1], after_cancel=after_cancel)
            run = runs[attempt.restart] if attempt.restart < len(runs) else None
            if verdict or run:
                outcome, reason = verdict or (None, "")
                elapsed_s, gpus = (run.elapsed_s, run.gpus) if run else (None, attempt.gpus)
                shown = run.state if run else state
                settled.append(
                    Settlement(
                        assignment.trial, attempt.number, plan.wave, ids[index], shown, elapsed_s, gpus, outcome, reason
                    )
                )
    return tuple(settled)


def unsettled(history: History, *, before: int) -> list[tuple[int, Attempt]]:
    """Attempts (with their trial's number) of waves before `before` whose allocated time is not known yet."""
    return [
        (trial.number, attempt)
        for trial in history.trials
        for attempt in trial.attempts
        if attempt.wave < before and attempt.elapsed_s is None and attempt.job_id
    ]


def settle_late(late: Sequence[tuple[int, Attempt]], usage: Mapping[str, Sequence[Usage]]) -> list[Settlement]:
    """What the accounting knows by now of attempts of earlier waves: their time alone, not their outcome."""
    found = []
    for number, attempt in late:
        runs = usage.get(attempt.job_id, ())
        if attempt.restart < len(runs):
            run = runs[attempt.restart]
            found.append(
                Settlement(number, attempt.number, attempt.wave, attempt.job_id, run.state, run.elapsed_s, run.gpus)
            )
    return found


def _meaning(state: JobState, after_cancel: bool) -> tuple[Outcome, str]:
    outcome, reason = END_STATES[state]
    return (
        (Outcome.INTERRUPTED, "the study was cancelled")
        if outcome is Outcome.DROPPED and after_cancel
        else (outcome, reason)
    )


def _verdict(attempt: Attempt, state: JobState, *, is_last: bool, after_cancel: bool) -> tuple[Outcome, str] | None:
    """What overrides the attempt's own record; None leaves it as it is."""
    if attempt.outcome is None:
        return _meaning(state, after_cancel) if is_last else (Outcome.INTERRUPTED, "requeued")
    if attempt.outcome is not Outcome.INTERRUPTED:
        return None
    if attempt.reason.startswith(_TIME_LIMIT_SIGNAL):
        return END_STATES[JobState.TIMEOUT]
    return _meaning(state, after_cancel) if state is JobState.CANCELLED else None


def _never_started(
    plan: WavePlan,
    assignment: Assignment,
    job_id: str,
    state: JobState,
    runs: Sequence[Usage],
    after_cancel: bool,
    log_tail: Callable[[str], str],
) -> Settlement:
    outcome, reason = _meaning(state, after_cancel)
    if outcome is Outcome.FAIL:
        said = log_tail(job_id)
        reason = f"the job ended {state} before its worker started" + (f": {said}" if said else "")
    elapsed_s = sum(run.elapsed_s for run in runs) if runs else None
    gpus = runs[-1].gpus if runs else plan.gpus
    return Settlement(assignment.trial, None, plan.wave, job_id, state, elapsed_s, gpus, outcome, reason)


def last_words(log: Path, limit: int = 300) -> str:
    """The end of a log as one line; empty if there is none."""
    try:
        text = log.read_bytes()[-4096:].decode(errors="replace")
    except OSError:
        return ""
    return " / ".join(line.strip() for line in text.splitlines() if line.strip())[-limit:]
