"""Finds how long each attempt waited in the cluster's queue. Pure."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf

from hposlurm.records.history import History
from hposlurm.report.records import StudyRecords
from hposlurm.trial import Attempt, Trial


@dataclass(frozen=True, slots=True)
class Started:
    """An attempt that started."""

    #: the trial's place in the history
    row: int
    trial: Trial
    attempt: Attempt
    #: since when it had waited in the queue; its own start if it did not wait there
    queued_at: float


def started_attempts(study: StudyRecords) -> tuple[Started, ...]:
    """Returns all attempts that started, with their waits, in the order of their starts.

    Nothing waits in a queue without a cluster. Under `waves.max_concurrent` an attempt waits in the queue from when it
    had a place: until then it was the study that held it back.
    """
    history, spec = study.history, study.spec
    found = sorted(_started(history), key=lambda each: (each[2].started_at, each[0]))
    if spec.backend in ("local", "simulated"):
        return tuple(Started(row, trial, attempt, attempt.started_at) for row, trial, attempt in found)
    places = _places([attempt for _, _, attempt in found], spec.waves.max_concurrent)
    return tuple(
        Started(row, trial, attempt, min(max(_planned(history, trial, attempt), place), attempt.started_at))
        for (row, trial, attempt), place in zip(found, places, strict=True)
    )


def mean_wait_s(study: StudyRecords) -> float | None:
    """Returns the mean time in the queue of the attempts that started; None before the first."""
    found = started_attempts(study)
    return sum(each.attempt.started_at - each.queued_at for each in found) / len(found) if found else None


def _started(history: History) -> Iterator[tuple[int, Trial, Attempt]]:
    for row, trial in enumerate(history.trials):
        for attempt in trial.attempts:
            if attempt.started_at:
                yield row, trial, attempt


def _planned(history: History, trial: Trial, attempt: Attempt) -> float:
    """Returns since when an attempt was to run: its wave was planned, and the trial's earlier attempt had ended."""
    planned = history.plans[attempt.wave].created_at if 0 <= attempt.wave < len(history.plans) else attempt.started_at
    before = [a.ended_at for a in trial.attempts if a.number < attempt.number and a.ended_at is not None]
    return max([planned, *before])


def _places(attempts: Sequence[Attempt], most: int | None) -> Iterator[float]:
    """Yields since when each attempt had one of the `most` places; `attempts` are in the order of their starts."""
    ends: list[float] = []
    for position, attempt in enumerate(attempts):
        yield ends[position - most] if most is not None and position >= most else -inf
        insort(ends, attempt.ended_at if attempt.ended_at is not None else inf)
