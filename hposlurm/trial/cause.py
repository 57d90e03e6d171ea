"""Why an attempt ended, as data: decisions compare it, and one place puts it into words."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from hposlurm.trial.state import JobState


class Cause(StrEnum):
    """The kinds of causes that end an attempt. Decisions compare them; `records.cause_text` puts them into words."""

    # Found by the worker when the command ended
    COMMAND_NOT_STARTED = "command_not_started"
    COMMAND_FAILED = "command_failed"
    COMMAND_NOT_KILLABLE = "command_not_killable"
    #: The training code refused its command line, as it would in every attempt.
    WRONG_ARGUMENT = "wrong_argument"
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
