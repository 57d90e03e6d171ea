"""Finds the nodes on which trials fail that would not fail elsewhere. Pure, and standard library only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, lgamma, log

from hposlurm.records.retries import ended_by
from hposlurm.trial import DONE, Attempt, Cause, Outcome, Trial, TrialState

#: The causes that a broken node may have: a command that fails, and a job without a record. Metrics that are not
#: numbers, the time limit and the memory limit depend on the trial.
NODE_FAULTS = (
    Cause.COMMAND_NOT_STARTED,
    Cause.COMMAND_FAILED,
    Cause.COMMAND_NOT_KILLABLE,
    Cause.JOB_ENDED_SILENTLY,
    Cause.JOB_FAILED,
    Cause.WORKER_NOT_STARTED,
    Cause.LOST,
)
#: A node is bad if the probability of its number of failures, at the rate of all other nodes, is at most this.
_BY_CHANCE = 0.1
#: How many different trials must fail on a bad node: one failure shows nothing about the node.
_AT_LEAST = 2


@dataclass(frozen=True, slots=True)
class BadNode:
    """A node on which trials fail."""

    node: str
    #: The trials that failed on it.
    failed: tuple[int, ...]
    #: How many trials completed on it.
    completed: int

    @property
    def why(self) -> str:
        """The reason for people, such as "trials 3, 8 failed there, 1 completed"."""
        shown = ", ".join(str(number) for number in self.failed[:5]) + (", …" if len(self.failed) > 5 else "")
        return f"trials {shown} failed there, {self.completed or 'none'} completed"


def bad_nodes(trials: Iterable[Trial]) -> tuple[BadNode, ...]:
    """Returns, by name, the nodes on which at least two different trials failed, far more than fail elsewhere.

    A trial that failed on several nodes and completed on none does not count: the trial itself is the cause. If the
    command fails everywhere, no node is bad. No node is bad before trials have completed on another one.
    """
    trials = list(trials)
    if sum(any(_may_be_node_fault(a) for a in trial.attempts) for trial in trials) < _AT_LEAST:
        return ()  # the usual case, and a quick exit: this runs before every wave
    failed: dict[str, set[int]] = {}
    completed: dict[str, set[int]] = {}
    for trial in trials:
        done = {a.host for a in trial.attempts if a.outcome in DONE and a.host}
        blamed = {a.host for a in trial.attempts if a.host and _may_be_node_fault(a)} - done
        for node in done:
            completed.setdefault(node, set()).add(trial.number)
        if len(blamed) == 1 or trial.state is TrialState.COMPLETE:
            for node in blamed:
                failed.setdefault(node, set()).add(trial.number)
    total_failed, total_completed = (sum(map(len, found.values())) for found in (failed, completed))
    bad = []
    for node in sorted(failed):
        here, well = len(failed[node]), len(completed.get(node, ()))
        elsewhere = total_completed - well
        rate = (total_failed - here + 1) / (total_failed - here + elsewhere + 2)
        if here >= _AT_LEAST and elsewhere and _at_least(here, here + well, rate) <= _BY_CHANCE:
            bad.append(BadNode(node, tuple(sorted(failed[node])), well))
    return tuple(bad)


def exclusion(bad: Sequence[BadNode], usable: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """Returns the nodes that jobs should avoid, and why none is excluded although some are bad ("" otherwise).

    `usable` are the nodes on which the study's jobs can run; () if that is not known.
    """
    found = tuple(b.node for b in bad if b.node in usable)
    if len(found) * 2 <= len(usable):
        return found, ""
    names = ", ".join(found)
    return (), f"trials fail on {names}, more than half of the {len(usable)} usable nodes: none of them is excluded"


def _may_be_node_fault(attempt: Attempt) -> bool:
    is_failure = attempt.outcome is Outcome.FAIL or ended_by(attempt, Cause.LOST)
    return is_failure and ended_by(attempt, *NODE_FAULTS)


def _at_least(count: int, of: int, rate: float) -> float:
    """Returns the probability that at least `count` of `of` trials fail if each fails with probability `rate`."""
    ways = (lgamma(of + 1) - lgamma(k + 1) - lgamma(of - k + 1) for k in range(count, of + 1))
    return sum(exp(way + k * log(rate) + (of - k) * log(1 - rate)) for k, way in enumerate(ways, count))
