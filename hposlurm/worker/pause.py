"""Keeps an element from running if the first ones have all failed alike: the next one would fail in the same way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hposlurm.records import journal, refill_pool
from hposlurm.records.assignment import Assignment
from hposlurm.records.cause_text import sentence
from hposlurm.records.failing import failed_alike, mark_paused, paused_for
from hposlurm.records.fold import fold, unread
from hposlurm.records.layout import StudyLayout
from hposlurm.records.plan import WavePlan, read_first
from hposlurm.records.reading import open_regular
from hposlurm.trial import Attempt
from hposlurm.worker.recorder import say

# An end record is the last line of a journal, or nearly so, and has a few lines of the log
_TAIL_BYTES = 64 * 1024
_HEAD_BYTES = 4 * 1024


def is_paused(study: StudyLayout, plan: WavePlan) -> bool:
    """True if the wave is paused, or has to be paused now; says why. `plan` may be without its added batches."""
    if plan.pause_after is None:
        return False
    wave = study.wave(plan.wave)
    cause = paused_for(wave) or failed_alike(_attempts(study, plan), plan.pause_after, plan.retries)
    if cause is None:
        return False
    mark_paused(wave, cause)
    say(f"nothing to run: the study is paused, because the first trials all failed: {sentence(cause)}")
    return True


def _attempts(study: StudyLayout, plan: WavePlan) -> Iterator[tuple[int, Attempt]]:
    """Yields (trial, attempt) of the wave, and of those before it that count, in the order of assignments."""
    for index in range(plan.pause_since, plan.wave + 1):
        for assignment in _assignments(study, plan if index == plan.wave else read_first(study.wave(index))):
            trial = study.trial(assignment.trial)
            attempts = (_outline(trial.journal(number), number) for number in trial.attempts())
            yield from ((assignment.trial, attempt) for attempt in attempts if attempt.wave == index)


def _assignments(study: StudyLayout, plan: WavePlan) -> Iterator[Assignment]:
    yield from plan.assignments
    if plan.elements is not None:
        for batch in refill_pool.batches(study.wave(plan.wave), len(plan.assignments)):
            yield from batch.assignments


def _outline(path: Path, number: int) -> Attempt:
    """Returns an attempt with its start and its end; of a long journal, what is between them is not read."""
    size = path.stat().st_size
    if size <= _HEAD_BYTES + _TAIL_BYTES:
        return fold(unread(number), journal.read(path).records)
    with open_regular(path) as file:
        first = journal.parse_record(file.read(_HEAD_BYTES).partition(b"\n")[0])
    return fold(unread(number), [*([first] if first else []), *journal.read(path, size - _TAIL_BYTES).records])
