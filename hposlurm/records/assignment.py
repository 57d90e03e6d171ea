"""The parts of a wave's plan: assignments to train, settlements of earlier attempts. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from hposlurm.trial import EndCause, JobState, Outcome, Params


@dataclass(frozen=True, slots=True)
class Assignment:
    """The order to train a trial from one step to another: one element of a wave's job array."""

    trial: int
    params: Params
    signature: str
    seed: int
    #: The rendered shell command line.
    command: str
    #: The command line for an attempt that finds a checkpoint; the shell expands its `"$HPOSLURM_RESUME_FROM"`. None
    #: where the study's command does not mention `resume_from`.
    command_resumed: str | None = None
    #: The files of the plan's `sources`, in their order; wildcards are allowed.
    metric_files: tuple[str, ...] = ()
    attrs: Mapping[str, object] = field(default_factory=dict)
    from_step: int = 0
    #: None means the training code's own end.
    to_step: int | None = None
    #: The checkpoint, relative to the study, from which a trial without checkpoints of its own starts.
    resume_from: str | None = None
    #: Counts how often the search continued the trial; a retry of a stage has the same number.
    stage: int = 0
    #: True if the end of this stage completes the trial; otherwise the trial is PAUSED then.
    is_final: bool = True
    #: The search's reason for continuing the trial.
    why: str = ""
    #: How long the job may last; None means the wave's own limit.
    time_limit_s: float | None = None


#: Stands for a trial's number where array elements ran no trial.
NO_TRIAL = -1


@dataclass(frozen=True, slots=True)
class Settlement:
    """The planner's decision about one attempt of an earlier wave. The next wave's plan records it."""

    #: The trial's number. NO_TRIAL: the settlement holds the time of all elements of a wave that found nothing to do.
    trial: int
    #: None for an array element that ended before its worker wrote anything, and with NO_TRIAL.
    attempt: int | None
    wave: int
    job_id: str
    state: JobState
    #: The elapsed time of the allocation, from sacct.
    elapsed_s: float | None = None
    gpus: int = 0
    #: None keeps the journal's own end record, so that only the time is settled.
    outcome: Outcome | None = None
    #: The cause as a sentence for people. No decision depends on it.
    reason: str = ""
    #: The node, from sacct; "" for an attempt with a journal, which names its host itself.
    node: str = ""
    #: None where `outcome` is None.
    cause: EndCause | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns all fields; of the cause, only those that are set."""
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        return {**found, "cause": None if self.cause is None else self.cause.to_json()}
