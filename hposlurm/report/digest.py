"""Adds up what an overview shows of trials that are over for good. Pure.

An overview combines the digest of these with the open trials: it need not look at the first ones again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter

from hposlurm.records.bad_nodes import NodeTally, tally_nodes
from hposlurm.records.fold import unread
from hposlurm.records.history import History
from hposlurm.records.ranking import pareto_front, ranked
from hposlurm.records.spent import NO_PAST, Past, past_of
from hposlurm.report.logs import TAIL_LINES
from hposlurm.report.printable import printable
from hposlurm.report.remarks import RemarkTally, tally_remarks
from hposlurm.space.metric_constraints import Limits
from hposlurm.trial import Attempt, Objective, Outcome, Params, Trial, TrialState

_FAILURES = (Outcome.FAIL, Outcome.INFEASIBLE, Outcome.DROPPED)


@dataclass(frozen=True, slots=True)
class FailedTrial:
    """A trial that failed and is not retried."""

    trial: int
    attempts: int
    reason: str
    #: the last lines of its output
    tail: tuple[str, ...]
    #: relative to the study's directory; "" if there is none
    log: str
    #: True if its configuration does not fit into the memory
    infeasible: bool = False


@dataclass(frozen=True, slots=True)
class Leader:
    """A completed trial that may be the best one, with what ranks it."""

    trial: int
    params: Params
    values: tuple[float, ...]
    #: the last value of each metric, and the peaks of memory
    metrics: Mapping[str, float | str]

    def as_trial(self) -> Trial:
        """Returns a trial that ranks as this one, and has nothing else."""
        attempt = replace(unread(0), metrics=self.metrics)
        return Trial(self.trial, self.params, "", 0, 0, TrialState.COMPLETE, values=self.values, attempts=(attempt,))


@dataclass(frozen=True, slots=True)
class Digest:
    """The sum of some trials, as far as an overview shows it."""

    counts: Mapping[str, int] = field(default_factory=dict)
    gpu_hours: float = 0.0
    #: how many completed trials have a runtime, and their sum
    timed: int = 0
    runtime_s: float = 0.0
    #: the Pareto front with several objectives, else the best trial
    leaders: tuple[Leader, ...] = ()
    past: Past = NO_PAST
    #: the waves that have one of the trials
    waves: tuple[int, ...] = ()
    #: when the last attempt of a wave ended, for the waves in flight
    ended_at: Mapping[str, float] = field(default_factory=dict)
    failed: tuple[FailedTrial, ...] = ()
    unreadable: Mapping[str, int] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    remarks: RemarkTally = field(default_factory=RemarkTally)
    nodes: NodeTally = field(default_factory=NodeTally)


def digest_of(history: History, final: Collection[int], objectives: Sequence[Objective], limits: Limits) -> Digest:
    """Returns the digest of the trials in `final`, and of the jobs of the study that had no trial."""
    trials = [trial for trial in history.trials if trial.number in final]
    timed = [t.runtime_s for t in trials if t.state is TrialState.COMPLETE and t.runtime_s is not None]
    ends = [(plan.wave, a) for plan in history.in_flight for t in trials for a in t.attempts if a.wave == plan.wave]
    ended_at: dict[str, float] = {}
    for wave, attempt in ends:
        ended_at[str(wave)] = max(ended_at.get(str(wave), 0.0), attempt.ended_at or attempt.started_at)
    return Digest(
        counts=dict(Counter(str(trial.state) for trial in trials)),
        gpu_hours=sum(trial.gpu_hours for trial in trials),
        timed=len(timed),
        runtime_s=sum(timed),
        leaders=tuple(map(_leader, _leaders(trials, objectives, limits))),
        past=past_of(history, trials, objectives, limits),
        waves=tuple(p.wave for p in history.plans if any(a.trial in final for a in p.assignments)),
        ended_at=ended_at,
        failed=tuple(failed_trial(trial) for trial in trials if trial.state is TrialState.FAIL),
        unreadable=by_trial(trials, attrgetter("corrupt_lines")),
        left_out=by_trial(trials, attrgetter("left_out")),
        remarks=tally_remarks(trials),
        nodes=tally_nodes(trials),
    )


def _leaders(trials: Sequence[Trial], objectives: Sequence[Objective], limits: Limits) -> list[Trial]:
    front = pareto_front(trials, objectives, limits) if len(objectives) > 1 else []
    return front or ranked(trials, objectives, limits)[:1]


def _leader(trial: Trial) -> Leader:
    return Leader(trial.number, trial.params, trial.values or (), trial.known_metrics)


def failed_trial(trial: Trial) -> FailedTrial:
    """Returns a failed trial with the end of its output as its records have it."""
    culprit = next((a for a in reversed(trial.attempts) if a.outcome in _FAILURES), trial.attempts[-1])
    reason, tail = printable(trial.reason), printable_tail(trial.tail)
    return FailedTrial(trial.number, len(trial.attempts), reason, tail, culprit.log, trial.infeasible)


def printable_tail(lines: Sequence[str]) -> tuple[str, ...]:
    """Returns the last of `lines` that a terminal can show."""
    return tuple(line for raw in lines if (line := printable(raw)))[-TAIL_LINES:]


def by_trial(trials: Sequence[Trial], count_of: Callable[[Attempt], int]) -> dict[str, int]:
    """Returns what `count_of` counts in the attempts of each trial, without the zeros."""
    counts = {str(trial.number): sum(map(count_of, trial.attempts)) for trial in trials}
    return {number: count for number, count in counts.items() if count}
