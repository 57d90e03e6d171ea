"""A trial, its attempts, their reports and the parts of its training, as plain frozen data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from hposlurm.trial.cause import EndCause
from hposlurm.trial.state import JobState, Outcome, TrialState
from hposlurm.trial.value import Params


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
    def known_metrics(self) -> dict[str, float | str]:
        """The newest value of every metric that the trial reported, and its known peaks of memory."""
        return with_peaks(latest_metrics(self.attempts), self.peak_gpu_gb, self.peak_host_gb)

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


class Ranked(Protocol):
    """The facts that rank a trial among others."""

    @property
    def number(self) -> int: ...
    @property
    def state(self) -> TrialState: ...
    @property
    def params(self) -> Params: ...
    @property
    def values(self) -> tuple[float, ...] | None: ...
    @property
    def known_metrics(self) -> Mapping[str, float | str]: ...


def latest_metrics(attempts: Iterable[Attempt]) -> dict[str, float | str]:
    """Returns the last value of each metric over `attempts`, in the order in which the metrics first appeared."""
    latest: dict[str, float | str] = {}
    for attempt in attempts:
        for report in attempt.reports:
            latest.update(report.metrics)
        latest.update(attempt.metrics)
    return latest


def with_peaks(
    latest: Mapping[str, float | str], peak_gpu_gb: float | None, peak_host_gb: float | None
) -> dict[str, float | str]:
    """Returns the metrics of a trial together with its peaks of memory in GiB, which count as metrics."""
    peaks = {"peak_gpu_gb": peak_gpu_gb, "peak_host_gb": peak_host_gb}
    return {**latest, **{name: value for name, value in peaks.items() if value is not None}}
