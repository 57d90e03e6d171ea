"""The words of the search and of the cluster as plain frozen data. Standard library only: the worker imports this."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, TypeGuard

ParamValue = float | int | str | bool | None
Params = Mapping[str, ParamValue]


def param_text(value: object) -> str:
    """A value as the text that a command receives: YAML's words for true, false and null, else Python's `str`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def is_finite(value: object) -> TypeGuard[float]:
    """True for a finite number. A reported value that is not one stays text: "nan", or what the training code gave."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def has_diverged(value: object) -> bool:
    """True for a reported value that was a number, but not a finite one."""
    return value in ("nan", "inf", "-inf")


class TrialState(StrEnum):
    """Life of a trial, in Optuna's words. PAUSED waits for promotion to a higher rung."""

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
    """Life of a job, in sacct's words. UNKNOWN is never a failure: the cluster just did not say."""

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
    """How one attempt ended. INTERRUPTED costs no retry; DROPPED means that a person took the trial out.

    INFEASIBLE: this configuration does not fit into the memory. Trying it again would not help, and the search learns
    it as a violated constraint, not as a bad value. PRUNED: the search has no further use for the trial.
    """

    COMPLETE = "complete"
    PRUNED = "pruned"
    FAIL = "fail"
    INFEASIBLE = "infeasible"
    INTERRUPTED = "interrupted"
    DROPPED = "dropped"


#: What an attempt has done its work with: nothing is left to be run of its stage.
DONE = (Outcome.COMPLETE, Outcome.PRUNED)


class Cause(StrEnum):
    """Kinds of causes that end an attempt. Decisions compare these; `records.cause_text` makes sentences of them."""

    # What the worker saw of the command
    COMMAND_NOT_STARTED = "command_not_started"
    COMMAND_FAILED = "command_failed"
    COMMAND_NOT_KILLABLE = "command_not_killable"
    NO_METRICS = "no_metrics"
    METRIC_MISSING = "metric_missing"
    METRIC_NOT_FINITE = "metric_not_finite"
    TRIAL_TIMEOUT = "trial_timeout"
    MEMORY_GUARD = "memory_guard"
    OUT_OF_GPU_MEMORY = "out_of_gpu_memory"
    #: It is complete, but ended at another step than assigned.
    OTHER_STEP = "other_step"
    #: There was no checkpoint to begin with, or it could not be read.
    NOT_BEGUN = "not_begun"

    # Why the worker asked the command to leave
    #: A signal came: the job was cancelled or preempted, or somebody pressed Ctrl-C.
    TOLD_TO_STOP = "told_to_stop"
    #: A signal came: the job's time is nearly over.
    TIME_LIMIT_AHEAD = "time_limit_ahead"
    #: The search has no further use for the trial.
    PRUNED = "pruned"

    # What became of the job
    JOB_ENDED_SILENTLY = "job_ended_silently"
    JOB_FAILED = "job_failed"
    OUT_OF_HOST_MEMORY = "out_of_host_memory"
    TIME_LIMIT = "time_limit"
    PREEMPTED = "preempted"
    NODE_FAILED = "node_failed"
    #: The process that drove a study on one machine has ended.
    DRIVER_ENDED = "driver_ended"
    CANCELLED = "cancelled"
    STUDY_CANCELLED = "study_cancelled"
    #: There is no record of the end, and the cluster does not know the job any more.
    LOST = "lost"
    #: The job ended before its worker started.
    WORKER_NOT_STARTED = "worker_not_started"
    #: The job started before the plan could be seen, and left.
    TOO_EARLY = "too_early"
    #: An earlier attempt had ended the trial by then.
    ALREADY_ENDED = "already_ended"
    #: Jobs of a refill wave found nothing to do.
    NOTHING_TO_DO = "nothing_to_do"
    #: A settlement that tells only the state of the job.
    JOB_ENDED = "job_ended"

    # What other attempts of the trial tell
    #: Another attempt followed, and this one left no record of its end.
    REPLACED = "replaced"
    #: Further attempts would get no further than those before.
    NO_PROGRESS = "no_progress"

    #: An older version wrote a sentence that tells nothing else.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class EndCause:
    """The cause of one attempt's end: its kind, and those of the fields that this kind has.

    Attempts that ended in the same way have equal causes. `detail` holds what others said, never words of this package.
    """

    kind: Cause
    # The number of the signal that told the worker to stop
    signal: int | None = None
    # The command's exit status, negative for a signal
    exit_code: int | None = None
    # How long the command was waited for before it was killed
    killed_after_s: float | None = None
    # The limit that was reached: trial.timeout, or the time of a part of the training
    limit_s: float | None = None
    # The metric that is not a result, with its last value
    metric: str = ""
    value: str = ""
    # The last step, and the one that was assigned
    step: int | None = None
    to_step: int | None = None
    # True if there was a checkpoint to go on from; None where that does not matter
    has_checkpoint: bool | None = None
    # How the job ended, and its id where the sentence names it
    job_state: JobState | None = None
    job_id: str = ""
    # How many: unreadable lines, jobs, attempts in a row
    count: int = 0
    # The numbers of the two attempts that ended in the same way, or of the last in the row
    attempts: tuple[int, ...] = ()
    # An exception, an error of the system, the log's last words, the search's reason, the guard's code
    detail: str = ""

    def to_json(self) -> dict[str, Any]:
        """The fields that are set; the others have their defaults."""
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        return {f.name: found[f.name] for f in fields(self) if f.name == "kind" or found[f.name] != f.default}


class Direction(StrEnum):
    MINIMIZE = "minimize"
    MAXIMIZE = "maximize"


@dataclass(frozen=True, slots=True)
class Objective:
    """What is optimised: the name of a reported metric, and which way is better.

    `weight` is its share where several objectives are added up to one number.
    """

    metric: str
    direction: Direction = Direction.MINIMIZE
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Assignment:
    """Train this trial from here to there: one element of a wave's job array.

    `to_step` None means the training code's own end. `command` is the rendered shell command line;
    `command_resumed` is the one to use when an attempt finds a checkpoint (its `"$HPOSLURM_RESUME_FROM"` is expanded
    by the shell), None where the study's command does not mention `resume_from`.

    `stage` counts how often the trial was sent on: another try at the same stage has the same number. What completes a
    stage that `is_final` completes the trial; else the trial is PAUSED then. `resume_from` is the checkpoint, relative
    to the study, from which a trial starts that has none of its own. `why` is what the search said when it sent the
    trial on. `time_limit_s` is how long its job may last, None as long as any of the wave.
    """

    trial: int
    params: Params
    signature: str
    seed: int
    command: str
    command_resumed: str | None = None
    attrs: Mapping[str, object] = field(default_factory=dict)
    from_step: int = 0
    to_step: int | None = None
    resume_from: str | None = None
    stage: int = 0
    is_final: bool = True
    why: str = ""
    time_limit_s: float | None = None


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of a trial's training, first assigned in `wave`; `to_step` None is the training code's own end.

    `why` is what the search said when it sent the trial on, "" for a new trial.
    """

    number: int
    wave: int
    from_step: int = 0
    to_step: int | None = None
    resume_from: str | None = None
    is_final: bool = True
    why: str = ""


#: In place of a trial's number: array elements that had none.
NO_TRIAL = -1


@dataclass(frozen=True, slots=True)
class Settlement:
    """What the planner decided about one attempt of an earlier wave, kept in the next wave's plan.

    `attempt` is None for an array element that ended before its worker wrote anything. With NO_TRIAL it holds the time
    of all elements of a wave that found nothing to do. `outcome` None leaves the
    journal's own end record as it is and only settles the time. `elapsed_s` is the allocation's, from sacct, and so is
    `node`, "" where it was not asked for: an attempt that has a journal tells its host itself. `cause` is None where
    `outcome` is; `reason` is its sentence for people, and nothing is decided by it.
    """

    trial: int
    attempt: int | None
    wave: int
    job_id: str
    state: JobState
    elapsed_s: float | None = None
    gpus: int = 0
    outcome: Outcome | None = None
    reason: str = ""
    node: str = ""
    cause: EndCause | None = None

    def to_json(self) -> dict[str, Any]:
        """The fields, of the cause only those that are set."""
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        return {**found, "cause": None if self.cause is None else self.cause.to_json()}


@dataclass(frozen=True, slots=True)
class Report:
    """The metrics at one step. A value that is no finite number stays what the training code gave, as text."""

    step: int
    metrics: Mapping[str, float | str]
    time: float


@dataclass(frozen=True, slots=True)
class Attempt:
    """One run of a trial's command, folded from one journal (and its settlement, where there is one).

    Times are seconds since the epoch on the attempt's own node. `offset` is how many bytes of the journal were read.
    `cause` is why it ended, None while it has not and where it is complete as assigned; `reason` is the sentence for
    people, and nothing is decided by it.
    """

    number: int
    wave: int
    index: int
    job_id: str
    host: str
    gpus: int
    started_at: float
    gpu_ids: str = ""
    restart: int = 0
    stage: int = 0
    git_commit: str | None = None
    resumed_from: str | None = None
    log: str = ""
    reports: tuple[Report, ...] = ()
    checkpoints: tuple[tuple[int, str], ...] = ()
    peak_host_gb: float | None = None
    peak_gpu_gb: float | None = None
    ended_at: float | None = None
    outcome: Outcome | None = None
    reason: str = ""
    exit_code: int | None = None
    metrics: Mapping[str, float | str] = field(default_factory=dict)
    tail: tuple[str, ...] = ()
    job_state: JobState | None = None
    elapsed_s: float | None = None
    offset: int = 0
    corrupt_lines: int = 0
    cause: EndCause | None = None

    @property
    def gpu_hours(self) -> float:
        """GPU hours of the allocation: sacct's elapsed time where it is settled, the worker's own clock before."""
        if self.elapsed_s is not None:
            return self.gpus * self.elapsed_s / 3600
        if self.ended_at is None:
            return 0.0
        return self.gpus * max(0.0, self.ended_at - self.started_at) / 3600


@dataclass(frozen=True, slots=True)
class Trial:
    """One configuration and everything that is known about it.

    `values` has one number per objective, in the study's order, once the trial is COMPLETE; of a PAUSED or PRUNED one
    they are those of its last stage, if there are any. `reports` has one entry per step in ascending order; where
    attempts overlap, the last one wins. `stages` has every part of the training that was assigned, in order.
    `infeasible`: it is FAIL because its configuration does not fit into the memory.
    """

    number: int
    params: Params
    signature: str
    seed: int
    wave: int
    state: TrialState
    attrs: Mapping[str, object] = field(default_factory=dict)
    values: tuple[float, ...] | None = None
    reports: tuple[Report, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    stages: tuple[Stage, ...] = ()
    reason: str = ""
    tail: tuple[str, ...] = ()
    infeasible: bool = False

    @property
    def gpu_hours(self) -> float:
        return sum(a.gpu_hours for a in self.attempts)

    @property
    def runtime_s(self) -> float | None:
        """Wall time of all ended attempts in seconds; None before the first one ended."""
        ended = [a for a in self.attempts if a.ended_at is not None]
        if not ended:
            return None
        return sum(max(0.0, (a.ended_at or 0.0) - a.started_at) for a in ended)  # a node's clock may be set back

    @property
    def peak_host_gb(self) -> float | None:
        """The most host memory in GiB that an attempt used, as far as it is known; None if it is not."""
        return max((a.peak_host_gb for a in self.attempts if a.peak_host_gb is not None), default=None)

    @property
    def peak_gpu_gb(self) -> float | None:
        """The most memory in GiB of its fullest GPU that the training reported; None if it reported none."""
        return max((a.peak_gpu_gb for a in self.attempts if a.peak_gpu_gb is not None), default=None)
