"""Notices on time: GPU hours that came to nothing, and time limits that are far too long or too short."""

from __future__ import annotations

import math
from collections.abc import Iterator

from hposlurm.decisions.walltime import ran_out
from hposlurm.report.notices.notice import Evidence, Notice
from hposlurm.report.numbers import counted, duration, shown
from hposlurm.trial import Attempt, Cause, Outcome, Trial

_LEAST_ATTEMPTS = 3
_MOST_WASTED = 0.5
# A limit that is so many times the longest training costs time in the queue: Slurm's backfill goes by limits.
_FAR_TOO_LONG, _SHORTEST_LIMIT_MIN, _LEAST_FULL = 5, 60, 5
_MOST_TIMEOUTS = 0.25
_WORDS = {
    Cause.COMMAND_FAILED: "commands that failed",
    Cause.WRONG_ARGUMENT: "commands that were refused",
    Cause.OUT_OF_GPU_MEMORY: "too little GPU memory",
    Cause.OUT_OF_HOST_MEMORY: "too little host memory",
    Cause.MEMORY_GUARD: "the memory guard",
    Cause.TRIAL_TIMEOUT: "trial.timeout",
    Cause.TIME_LIMIT: "the time limit of the jobs",
    Cause.TIME_LIMIT_AHEAD: "the time limit of the jobs",
    Cause.PREEMPTED: "preemption",
    Cause.TOLD_TO_STOP: "preemption or cancelling",
    Cause.NODE_FAILED: "nodes that failed",
    Cause.METRIC_NOT_FINITE: "training that diverged",
}
_ADVICE = {
    Cause.OUT_OF_GPU_MEMORY: "exclude what does not fit by a constraint, or lower the batch size",
    Cause.OUT_OF_HOST_MEMORY: "raise resources.mem_gb",
    Cause.TIME_LIMIT: "save checkpoints earlier, or raise resources.time",
    Cause.TIME_LIMIT_AHEAD: "save checkpoints earlier, or raise resources.time",
    Cause.PREEMPTED: "save checkpoints more often, or take a partition without preemption",
    Cause.TOLD_TO_STOP: "save checkpoints more often, or take a partition without preemption",
    Cause.METRIC_NOT_FINITE: "take the values that diverge out of the space",
}


def spending_notices(found: Evidence) -> Iterator[Notice]:
    """Yields the notices on GPU hours (or hours, without GPUs) and on time limits."""
    yield from _wasted(found)
    yield from _too_long(found)
    yield from _too_short(found)


def _wasted(found: Evidence) -> Iterator[Notice]:
    """Yields a notice if half of the time was spent on attempts that came to nothing, for one reason."""
    attempts = [(trial, attempt) for trial in found.records.history.trials for attempt in trial.attempts]
    has_gpus = any(attempt.gpu_hours for _, attempt in attempts)
    total = sum(_hours(attempt, has_gpus=has_gpus) for _, attempt in attempts)
    lost: dict[str, list[tuple[Trial, Attempt]]] = {}
    for trial, attempt in attempts:
        if _came_to_nothing(attempt) and attempt.cause is not None:
            lost.setdefault(_words(attempt.cause.kind), []).append((trial, attempt))
    for words, own in lost.items():
        hours = sum(_hours(attempt, has_gpus=has_gpus) for _, attempt in own)
        if len(own) >= _LEAST_ATTEMPTS and total > 0 and hours >= _MOST_WASTED * total:
            unit = "GPU hours" if has_gpus else "hours"
            kind = own[0][1].cause.kind if own[0][1].cause else Cause.UNKNOWN
            yield Notice(
                "wasted",
                f"{shown(hours)} of {shown(total)} {unit} came to nothing because of {words}",
                _ADVICE.get(kind, "hposlurm status has the reason and the end of the output"),
                tuple(dict.fromkeys(trial.number for trial, _ in own)),
            )


def _words(kind: Cause) -> str:
    return _WORDS.get(kind, str(kind).replace("_", " "))


def _hours(attempt: Attempt, *, has_gpus: bool) -> float:
    return attempt.gpu_hours if has_gpus else _elapsed_s(attempt) / 3600


def _elapsed_s(attempt: Attempt) -> float:
    return max(0.0, attempt.ended_at - attempt.started_at) if attempt.ended_at is not None else 0.0


def _came_to_nothing(attempt: Attempt) -> bool:
    """True for an attempt that failed, and for an interrupted one that saved nothing."""
    if attempt.outcome is Outcome.INTERRUPTED:
        return not attempt.checkpoints
    return attempt.outcome in (Outcome.FAIL, Outcome.INFEASIBLE)


def _is_of_slurm(attempt: Attempt) -> bool:
    return attempt.job_id[:1].isdigit() and attempt.job_state is not None


def _too_long(found: Evidence) -> Iterator[Notice]:
    """Yields a notice if jobs have several times the time that the longest training took."""
    full = [
        attempt
        for trial in found.complete
        for attempt in trial.attempts[-1:]
        if attempt.resumed_from is None and len(trial.stages) == 1 and _is_of_slurm(attempt)
    ]
    limit_min, longest_s = found.spec.resources.time_min, max(map(_elapsed_s, full), default=0.0)
    if len(full) < _LEAST_FULL or limit_min < _SHORTEST_LIMIT_MIN or longest_s * _FAR_TOO_LONG > limit_min * 60:
        return
    enough_min = max(10, 5 * math.ceil(2 * longest_s / 300))
    command = found.change(f"resources.time={enough_min}m")
    yield Notice(
        "limit_too_long",
        f"the longest of {len(full)} trainings took {duration(longest_s)}, and each job asks for "
        f"{duration(limit_min * 60)}",
        f"a shorter limit starts earlier: {command}",
        command=command,
    )


def _too_short(found: Evidence) -> Iterator[Notice]:
    """Yields a notice if a quarter of the attempts ran into their time limit."""
    ended = [(t, a) for t in found.records.history.trials for a in t.attempts if a.outcome is not None]
    cut = [(trial, attempt) for trial, attempt in ended if ran_out(attempt)]
    if len(cut) < max(_LEAST_ATTEMPTS, _MOST_TIMEOUTS * len(ended)):
        return
    limit_min = found.spec.resources.time_min
    command = found.change(f"resources.time={2 * limit_min}m")
    yield Notice(
        "limit_too_short",
        f"{counted(len(cut), 'attempt')} of {len(ended)} reached the time limit of the job "
        f"({duration(limit_min * 60)})",
        f"give each job more: {command}",
        tuple(dict.fromkeys(trial.number for trial, _ in cut)),
        command,
    )
