"""The result of a trial: what tables show of it. Computed from its records, and published in `study.db`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hposlurm.records.values import CountedValue, counted_value
from hposlurm.report.printable import printable
from hposlurm.trial import Objective, Params, Trial, TrialState, latest_metrics, with_peaks

_QUOTED = 100  # characters; enough to recognise a line of output in the reason that quotes it


@dataclass(frozen=True, slots=True)
class TrialResult:
    """The result of one trial."""

    number: int
    state: TrialState
    #: the wave in which it was first assigned
    wave: int
    attempts: int
    params: Params
    #: one number per objective: the value that counts
    values: tuple[float, ...] | None
    #: the last reported step
    step: int | None
    #: the last value of each metric, in the order in which they first appeared
    last: Mapping[str, float | str]
    #: the best value of each objective
    best: tuple[CountedValue | None, ...]
    runtime_s: float | None
    gpu_hours: float
    peak_host_gb: float | None
    peak_gpu_gb: float | None
    #: the last one
    node: str | None
    #: why it failed or was interrupted, with the last line of its output
    reason: str | None

    @property
    def known_metrics(self) -> dict[str, float | str]:
        """The newest value of every metric that the trial reported, and its known peaks of memory."""
        return with_peaks(self.last, self.peak_gpu_gb, self.peak_host_gb)


def result_of(trial: Trial, objectives: Sequence[Objective]) -> TrialResult:
    """Returns the result of `trial`, with the best value of each of `objectives`."""
    return TrialResult(
        number=trial.number,
        state=trial.state,
        wave=trial.wave,
        attempts=len(trial.attempts),
        params=trial.params,
        values=trial.values,
        step=trial.reports[-1].step if trial.reports else None,
        last=latest_metrics(trial.attempts),
        best=tuple(counted_value(trial.attempts, o.metric, o.best) for o in objectives),
        runtime_s=trial.runtime_s,
        gpu_hours=float(trial.gpu_hours),
        peak_host_gb=trial.peak_host_gb,
        peak_gpu_gb=trial.peak_gpu_gb,
        node=next((attempt.host for attempt in reversed(trial.attempts) if attempt.host), None),
        reason=reason_text(trial.reason, trial.tail, is_infeasible=trial.infeasible),
    )


def reason_text(reason: str, tail: Sequence[str], *, is_infeasible: bool) -> str | None:
    """Returns the reason of a trial's state with the last line of its output in `tail`; None if there is none."""
    last_line = next((plain for line in reversed(tail) if (plain := printable(line))), "")
    reason = printable(reason)
    if reason == last_line or f": {last_line[:_QUOTED]}" in reason:
        last_line = ""  # the reason already quotes it, perhaps shortened
    kind = "infeasible" if is_infeasible else ""
    return ": ".join(part for part in (kind, reason, last_line) if part) or None
