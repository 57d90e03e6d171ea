"""Finds the nodes on which trials fail that would not fail elsewhere. Pure, and standard library only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
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


@dataclass(frozen=True, slots=True)
class NodeTally:
    """Counts of trials by what happened to them on nodes."""

    #: How many trials had a failure that a node may have caused.
    failures: int = 0
    #: The trials that failed on each node, ascending.
    failed: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    #: How many trials completed on each node.
    completed: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: NodeTally) -> NodeTally:
        """Returns the tally of the trials of both, which must be different ones."""
        nodes = dict.fromkeys((*self.failed, *other.failed))
        failed = {node: tuple(sorted((*self.failed.get(node, ()), *other.failed.get(node, ())))) for node in nodes}
        completed = Counter(self.completed)
        completed.update(other.completed)
        return NodeTally(self.failures + other.failures, failed, dict(completed))


def tally_nodes(trials: Iterable[Trial]) -> NodeTally:
    """Returns the tally of `trials`.

    A trial that failed on several nodes and completed on none does not count: the trial itself is the cause.
    """
    failures = 0
    failed: dict[str, set[int]] = {}
    completed: Counter[str] = Counter()
    for trial in trials:
        done = {a.host for a in trial.attempts if a.outcome in DONE and a.host}
        faults = [a for a in trial.attempts if _may_be_node_fault(a)]
        failures += bool(faults)
        blamed = {a.host for a in faults if a.host} - done
        completed.update(done)
        if len(blamed) == 1 or trial.state is TrialState.COMPLETE:
            for node in blamed:
                failed.setdefault(node, set()).add(trial.number)
    return NodeTally(failures, {node: tuple(sorted(own)) for node, own in failed.items()}, dict(completed))


def bad_nodes(trials: Iterable[Trial]) -> tuple[BadNode, ...]:
    """Returns the bad nodes of `bad_of` by the tally of `trials`."""
    return bad_of(tally_nodes(trials))


def bad_of(tally: NodeTally) -> tuple[BadNode, ...]:
    """Returns, by name, the nodes on which at least two different trials failed, far more than fail elsewhere.

    If the command fails everywhere, no node is bad. No node is bad before trials have completed on another one.
    """
    if tally.failures < _AT_LEAST:
        return ()  # the usual case, and a quick exit: this runs before every wave
    total_failed, total_completed = sum(map(len, tally.failed.values())), sum(tally.completed.values())
    bad = []
    for node in sorted(tally.failed):
        here, well = len(tally.failed[node]), tally.completed.get(node, 0)
        elsewhere = total_completed - well
        rate = (total_failed - here + 1) / (total_failed - here + elsewhere + 2)
        if here >= _AT_LEAST and elsewhere and _at_least(here, here + well, rate) <= _BY_CHANCE:
            bad.append(BadNode(node, tally.failed[node], well))
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
