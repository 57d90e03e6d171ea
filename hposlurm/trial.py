"""The terms of the search and of the cluster as plain frozen data. Standard library only: the worker imports this."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, TypeGuard

ParamValue = float | int | str | bool | None
Params = Mapping[str, ParamValue]


def param_text(value: object) -> str:
    """Returns a value as the text that a command receives: true, false and null as in YAML, else Python's `str`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def is_finite(value: object) -> TypeGuard[float]:
    """True for a finite number.

    Any other reported value is kept as text: "nan", "inf", "-inf", or the text that the training code reported.
    """
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def has_diverged(value: object) -> bool:
    """True for the text of a reported number that was not finite."""
    return value in ("nan", "inf", "-inf")


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


class Cause(StrEnum):
    """The kinds of causes that end an attempt. Decisions compare them; `records.cause_text` puts them into words."""

    # Found by the worker when the command ended
    COMMAND_NOT_STARTED = "command_not_started"
    COMMAND_FAILED = "command_failed"
    COMMAND_NOT_KILLABLE = "command_not_killable"
    NO_METRICS = "no_metrics"
    METRIC_MISSING = "metric_missing"
    METRIC_NOT_FINITE = "metric_not_finite"
    TRIAL_TIMEOUT = "trial_timeout"
    MEMORY_GUARD = "memory_guard"
    OUT_OF_GPU_MEMORY = "out_of_gpu_memory"
    #: The attempt is complete, but ended at another step than assigned.
    OTHER_STEP = "other_step"
    #: The checkpoint that the attempt should start from was missing or could not be read.
    NOT_BEGUN = "not_begun"

    # Why the worker asked the command to exit
    #: A signal came: the job was cancelled or preempted, or a person pressed Ctrl-C.
    TOLD_TO_STOP = "told_to_stop"
    #: A signal came: the job's time is nearly over.
    TIME_LIMIT_AHEAD = "time_limit_ahead"
    #: The search has no further use for the trial.
    PRUNED = "pruned"

    # How the job ended
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
    #: There is no record of the end, and the cluster no longer knows the job.
    LOST = "lost"
    #: The job ended before its worker started.
    WORKER_NOT_STARTED = "worker_not_started"
    #: The job started before it could see the plan, and ended.
    TOO_EARLY = "too_early"
    #: An earlier attempt had ended the trial before this job started.
    ALREADY_ENDED = "already_ended"
    #: The study was paused before this job started, because the first trials all failed alike.
    STUDY_PAUSED = "study_paused"
    #: Jobs of a refill wave found nothing to do.
    NOTHING_TO_DO = "nothing_to_do"
    #: The settlement gives only the state of the job.
    JOB_ENDED = "job_ended"

    # Concluded from the trial's other attempts
    #: Another attempt followed, and this one left no record of its end.
    REPLACED = "replaced"
    #: Another attempt would get no further than the earlier ones.
    NO_PROGRESS = "no_progress"

    #: An older version wrote a sentence from which no other cause can be read.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class EndCause:
    """The cause of one attempt's end. Only the fields that the kind needs are set.

    Attempts that ended in the same way have equal causes.
    """

    kind: Cause
    #: The number of the signal that asked the worker to stop.
    signal: int | None = None
    #: The command's exit status, negative for a signal.
    exit_code: int | None = None
    #: How long the worker waited for the command before it killed it.
    killed_after_s: float | None = None
    #: The limit that was reached: trial.timeout, or the time for a part of the training.
    limit_s: float | None = None
    #: The metric that is not a valid result.
    metric: str = ""
    #: The last value of that metric; where nothing was reported, a matched step that is not a whole number.
    value: str = ""
    #: The last step that was reached.
    step: int | None = None
    #: The step that was assigned.
    to_step: int | None = None
    #: True if there was a checkpoint to continue from; None where that does not matter.
    has_checkpoint: bool | None = None
    #: The state in which the job ended.
    job_state: JobState | None = None
    #: The job's id, where the sentence names it.
    job_id: str = ""
    #: The number of unreadable lines, of jobs, or of attempts in a row.
    count: int = 0
    #: How many lines of output trial.metric_pattern did not match; None without a pattern.
    lines: int | None = None
    #: The numbers of the two attempts that ended in the same way, or of the last attempt in a row.
    attempts: tuple[int, ...] = ()
    #: Text from outside this package: an exception, a system error, the end of a log, the search's reason, the
    #: memory guard's code.
    detail: str = ""

    def to_json(self) -> dict[str, Any]:
        """Returns `kind` and every field that differs from its default."""
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        return {f.name: found[f.name] for f in fields(self) if f.name == "kind" or found[f.name] != f.default}


class Direction(StrEnum):
    MINIMIZE = "minimize"
    MAXIMIZE = "maximize"


class CountedReport(StrEnum):
    """Which of a trial's reports counts."""

    LAST = "last"
    BEST = "best"


class ValueRule(StrEnum):
    """Which of a metric's reported values counts."""

    LAST = "last"
    LOWEST = "lowest"
    HIGHEST = "highest"

    def of(self, values: Sequence[float]) -> float:
        """Returns the one of `values`, in the order of their reports and at least one, that counts."""
        return values[-1] if self is ValueRule.LAST else min(values) if self is ValueRule.LOWEST else max(values)


@dataclass(frozen=True, slots=True)
class Objective:
    """An objective: the name of a reported metric, and which direction is better."""

    metric: str
    direction: Direction = Direction.MINIMIZE
    #: The objective's share where several objectives are added up to one number.
    weight: float = 1.0
    #: Which of a trial's reports counts. Studies of older versions have no such key: the last one counts.
    report: CountedReport = CountedReport.LAST

    @property
    def rule(self) -> ValueRule:
        """Which value counts, without the direction."""
        return ValueRule.LAST if self.report is CountedReport.LAST else self.best

    @property
    def best(self) -> ValueRule:
        """Which value is the best one."""
        return ValueRule.HIGHEST if self.direction is Direction.MAXIMIZE else ValueRule.LOWEST


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of a trial's training."""

    number: int
    #: The wave in which it was first assigned.
    wave: int
    from_step: int = 0
    #: None means the training code's own end.
    to_step: int | None = None
    #: The checkpoint, relative to the study, from which a trial without checkpoints of its own starts.
    resume_from: str | None = None
    is_final: bool = True
    #: The search's reason for continuing the trial; "" for a new trial.
    why: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """The metrics at one step. A value that is not a finite number is kept as text."""

    step: int
    metrics: Mapping[str, float | str]
    time: float
    #: Counts the steps that the attempt reported from 0. Not all of many reports are kept (see `records.thinning`).
    number: int = 0


@dataclass(frozen=True, slots=True)
class Attempt:
    """One run of a trial's command, folded from its journal and, where there is one, its settlement.

    Times are seconds since the epoch on the attempt's own node.
    """

    #: Counts the trial's journals from 0. An attempt without a journal has a negative number.
    number: int
    wave: int
    #: The element of the wave's job array.
    index: int
    job_id: str
    host: str
    gpus: int
    #: 0 for an attempt whose start was not recorded.
    started_at: float
    gpu_ids: str = ""
    #: How many times Slurm had requeued the job.
    restart: int = 0
    #: The number of the trial's stage that it ran.
    stage: int = 0
    #: The commit of the training code.
    git_commit: str | None = None
    #: The checkpoint from which it continued; None for a start from scratch.
    resumed_from: str | None = None
    #: The path of its log.
    log: str = ""
    reports: tuple[Report, ...] = ()
    #: (step, path) of every checkpoint that it saved.
    checkpoints: tuple[tuple[int, str], ...] = ()
    #: The numbers of the reports after which the newest checkpoints were saved.
    saved: tuple[int, ...] = ()
    #: The most host memory that it used, in GiB.
    peak_host_gb: float | None = None
    #: The most memory of its fullest GPU that the training reported, in GiB.
    peak_gpu_gb: float | None = None
    #: None while it runs.
    ended_at: float | None = None
    #: None while it runs.
    outcome: Outcome | None = None
    #: The cause as a sentence for people. No decision depends on it.
    reason: str = ""
    #: The command's exit status.
    exit_code: int | None = None
    #: The last value of each metric, from the end record.
    metrics: Mapping[str, float | str] = field(default_factory=dict)
    #: The last lines of the log.
    tail: tuple[str, ...] = ()
    #: The state in which the job ended, from the settlement.
    job_state: JobState | None = None
    #: The elapsed time of the allocation, from the settlement.
    elapsed_s: float | None = None
    #: How many bytes of the journal were read.
    offset: int = 0
    #: How many lines of the journal could not be read.
    corrupt_lines: int = 0
    #: How many reported values are only in the journal, because the attempt has too many metrics.
    left_out: int = 0
    #: Why it ended; None while it runs, and where it is complete as assigned.
    cause: EndCause | None = None
    #: The worker's remarks for people.
    notes: tuple[str, ...] = ()

    @property
    def reported(self) -> int:
        """How many steps it reported; `reports` has not all of them if there are many."""
        return self.reports[-1].number + 1 if self.reports else 0

    @property
    def is_thinned(self) -> bool:
        """True if something that it reported is only in its journal."""
        return self.reported > len(self.reports) or self.left_out > 0

    @property
    def gpu_hours(self) -> float:
        """The GPU hours of the allocation: by sacct's elapsed time once it is settled, before that by the worker's."""
        if self.elapsed_s is not None:
            return self.gpus * self.elapsed_s / 3600
        if self.ended_at is None:
            return 0.0
        return self.gpus * max(0.0, self.ended_at - self.started_at) / 3600


@dataclass(frozen=True, slots=True)
class Trial:
    """One configuration and everything that is known about it."""

    number: int
    params: Params
    signature: str
    seed: int
    #: The wave in which it was first assigned.
    wave: int
    state: TrialState
    attrs: Mapping[str, object] = field(default_factory=dict)
    #: One number per objective, in the study's order. A PAUSED or PRUNED trial has those of its last stage, if any.
    values: tuple[float, ...] | None = None
    #: One report per step, in ascending order; where attempts overlap, the last one counts.
    reports: tuple[Report, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    #: Every part of the training that was assigned, in order.
    stages: tuple[Stage, ...] = ()
    #: Why it failed, was pruned or waits again, as a sentence; "" otherwise.
    reason: str = ""
    #: The last lines of the log of the attempt that `reason` is about.
    tail: tuple[str, ...] = ()
    #: True if it is FAIL because its configuration does not fit into the memory.
    infeasible: bool = False

    @property
    def gpu_hours(self) -> float:
        return sum(a.gpu_hours for a in self.attempts)

    @property
    def runtime_s(self) -> float | None:
        """The wall time of all ended attempts in seconds; None before the first one ends."""
        ended = [a for a in self.attempts if a.ended_at is not None]
        if not ended:
            return None
        return sum(max(0.0, (a.ended_at or 0.0) - a.started_at) for a in ended)  # a node's clock may be set back

    @property
    def peak_host_gb(self) -> float | None:
        """The most host memory in GiB that an attempt used; None if none is known."""
        return max((a.peak_host_gb for a in self.attempts if a.peak_host_gb is not None), default=None)

    @property
    def peak_gpu_gb(self) -> float | None:
        """The most memory in GiB of an attempt's fullest GPU that the training reported; None if it reported none."""
        return max((a.peak_gpu_gb for a in self.attempts if a.peak_gpu_gb is not None), default=None)
