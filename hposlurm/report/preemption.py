"""Says which trials lost their node and wait, and which jobs run there now. Slurm itself does not name the preemptor.

`scontrol show job` and `sacct` of Slurm 22.05 know when and where a job was preempted, not for which other job. What
can be seen is who has started on that node since.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hposlurm.backend import ElementState, NodeJob
from hposlurm.records.history import History
from hposlurm.report.numbers import spans
from hposlurm.trial import Attempt, Cause, JobState, Trial

# The job that takes the node may start a moment before the worker has recorded its end: the clocks of nodes differ.
_EARLIER_S = 5.0


@dataclass(frozen=True, slots=True)
class LostNode:
    """A node that trials had to leave, and which they wait for."""

    node: str
    trials: tuple[int, ...]
    #: when the first of them left, or began if its end was not recorded (epoch seconds)
    since: float
    #: the jobs of others that started there since, as far as this user may see them
    jobs: tuple[NodeJob, ...] = ()

    @property
    def line(self) -> str:
        """Returns it as a sentence."""
        who = f"trial{'' if len(self.trials) == 1 else 's'} {spans(self.trials)}"
        left = f"{who} had to leave {self.node} and {'waits' if len(self.trials) == 1 else 'wait'}"
        if not self.jobs:
            return f"{left}; no job that you may see has started there since"
        return f"{left}; there runs {', '.join(map(_job, self.jobs))}"


def lost_nodes(history: History, queue: Mapping[str, ElementState]) -> tuple[LostNode, ...]:
    """Returns the nodes of the trials whose jobs were ended or requeued from outside, and have not started again."""
    found: dict[str, list[tuple[int, float]]] = {}
    for trial in history.trials:
        if (attempt := _left(trial, queue)) is not None:
            found.setdefault(attempt.host, []).append((trial.number, attempt.ended_at or attempt.started_at))
    return tuple(
        LostNode(node, tuple(number for number, _ in left), min(at for _, at in left)) for node, left in found.items()
    )


def _left(trial: Trial, queue: Mapping[str, ElementState]) -> Attempt | None:
    """Returns the attempt that lost its node, if it is the trial's last one and its job waits again."""
    if trial.state.is_finished or not trial.attempts:
        return None
    attempt = trial.attempts[-1]
    waits = attempt.job_id in queue and queue[attempt.job_id].state is JobState.PENDING
    if attempt.outcome is None:
        return attempt if waits and attempt.host else None
    cause = attempt.cause
    is_from_outside = cause is not None and (
        cause.kind is Cause.PREEMPTED or (cause.kind is Cause.TOLD_TO_STOP and cause.signal == signal.SIGTERM)
    )
    return attempt if is_from_outside and attempt.host else None


def with_jobs(lost: Sequence[LostNode], jobs: Sequence[NodeJob], own: Sequence[str]) -> tuple[LostNode, ...]:
    """Returns them with the jobs that started there since; `own` are the arrays of the study."""
    return tuple(
        LostNode(
            one.node,
            one.trials,
            one.since,
            tuple(
                job
                for job in jobs
                if one.node in job.nodes
                and job.started_at >= one.since - _EARLIER_S
                and job.job_id.partition("_")[0] not in own
            ),
        )
        for one in lost
    )


def _job(job: NodeJob) -> str:
    since = time.strftime("%H:%M", time.localtime(job.started_at))
    return f"job {job.job_id} (user {job.user}, partition {job.partition}, since {since})"
