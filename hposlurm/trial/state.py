"""The states of trials and of jobs, and how attempts end."""

from __future__ import annotations

from enum import StrEnum


class TrialState(StrEnum):
    """The states of a trial, with Optuna's names. A PAUSED trial waits for its promotion to a higher rung."""

    WAITING = "WAITING"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    COMPLETE = "COMPLETE"
    PRUNED = "PRUNED"
    FAIL = "FAIL"

    @property
    def is_finished(self) -> bool:
        return self in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


class JobState(StrEnum):
    """The states of a job, with sacct's names. UNKNOWN is never a failure: the cluster gave no state."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    TIMEOUT = "TIMEOUT"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    NODE_FAIL = "NODE_FAIL"
    PREEMPTED = "PREEMPTED"
    UNKNOWN = "UNKNOWN"

    @property
    def is_terminal(self) -> bool:
        return self not in (JobState.PENDING, JobState.RUNNING, JobState.UNKNOWN)


class Outcome(StrEnum):
    """How one attempt ended."""

    COMPLETE = "complete"
    #: The search has no further use for the trial.
    PRUNED = "pruned"
    #: Costs one of the trial's retries.
    FAIL = "fail"
    #: This configuration does not fit into the memory. A retry would not help. The search learns it as a violated
    #: constraint, not as a bad value.
    INFEASIBLE = "infeasible"
    #: Costs no retry.
    INTERRUPTED = "interrupted"
    #: A person cancelled the trial.
    DROPPED = "dropped"


#: The outcomes after which nothing of the attempt's stage is left to run.
DONE = (Outcome.COMPLETE, Outcome.PRUNED)
