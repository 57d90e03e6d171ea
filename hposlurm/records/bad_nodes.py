"""Nodes on which trials fail that would not fail elsewhere. Pure, and standard library only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, lgamma, log

from hposlurm.records.retries import ended_by
from hposlurm.trial import DONE, Attempt, Cause, Outcome, Trial, TrialState

#: Causes that may be the node's fault: a command that fails, and a job without a record. Metrics that are not numbers,
#: used-up time and used-up memory are the trial's own.
NODE_MAY_BE_TO_BLAME = (
    Cause.COMMAND_NOT_STARTED,
    Cause.COMMAND_FAILED,
    Cause.COMMAND_NOT_KILLABLE,
    Cause.JOB_ENDED_SILENTLY,
    Cause.JOB_FAILED,
    Cause.WORKER_NOT_STARTED,
    Cause.LOST,
)
#: A node is bad if so many failures as there would be by chance at most this often, going by all the other nodes.
_BY_CHANCE = 0.1
_AT_LEAST = 2


@dataclass(frozen=True, slots=True)
class BadNode:
    """A node, the trials that failed on it, and how many completed there."""

    node: str
    failed: tuple[int, ...]
    completed: int

    @property
    def why(self) -> str:
        """In words: "trials 3, 8 failed there, 1 completed"."""
        shown = ", ".join(str(number) for number in self.failed[:5]) + (", …" if len(self.failed) > 5 else "")
        return f"trials {shown} failed there, {self.completed or 'none'} completed"


def bad_nodes(trials: Iterable[Trial]) -> tuple[BadNode, ...]:
    """Nodes on which at least two different trials failed, and far more than trials fail elsewhere; by name.

    A trial that failed on several nodes and completed on none has only itself to blame. Where the command fails
    everywhere no node is bad, and none is before trials have completed on another one.
    """
    trials = list(trials)
    if sum(any(_blames_node(a) for a in trial.attempts) for trial in trials) < _AT_LEAST:
        return ()  # as nearly always, and asked before every wave
    failed: dict[str, set[int]] = {}
    completed: dict[str, set[int]] = {}
    for trial in trials:
        done = {a.host for a in trial.attempts if a.outcome in DONE and a.host}
        blamed = {a.host for a in trial.attempts if a.host and _blames_node(a)} - done
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
    """The nodes to keep jobs away from, and why it is none of them although some are bad ("" otherwise).

    `usable` are the nodes that the study's jobs could run on; () if that is not known.
    """
    found = tuple(b.node for b in bad if b.node in usable)
    if len(found) * 2 <= len(usable):
        return found, ""
    names = ", ".join(found)
    return (), f"trials fail on {names}, more than half of the {len(usable)} usable nodes: none of them is excluded"


def _blames_node(attempt: Attempt) -> bool:
    is_failure = attempt.outcome is Outcome.FAIL or ended_by(attempt, Cause.LOST)
    return is_failure and ended_by(attempt, *NODE_MAY_BE_TO_BLAME)


def _at_least(count: int, of: int, rate: float) -> float:
    """How probable it is that at least `count` of `of` fail if each does with the probability `rate`."""
    ways = (lgamma(of + 1) - lgamma(k + 1) - lgamma(of - k + 1) for k in range(count, of + 1))
    return sum(exp(way + k * log(rate) + (of - k) * log(1 - rate)) for k, way in enumerate(ways, count))
