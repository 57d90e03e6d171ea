"""When a trial is tried again, and when attempts that get nowhere come to an end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hposlurm.records.cause_text import no_progress_text
from hposlurm.records.old_causes import cause_of
from hposlurm.records.retries import (
    INTERRUPTIONS,
    MOST_INTERRUPTIONS,
    makes_progress,
    no_progress,
    reached,
    repeated_failure,
)
from hposlurm.trial import Attempt, Cause, EndCause, JobState, Outcome, Report

LIMIT = "time limit: all of it"


def attempt(
    number: int = 0,
    outcome: Outcome | None = Outcome.INTERRUPTED,
    reason: str = "preempted",
    *,
    steps: tuple[int, ...] = (),
    saved: tuple[tuple[int, str], ...] = (),
    job_state: JobState | None = None,
) -> Attempt:
    reports = tuple(Report(step, {"loss": 1.0}, 0.0) for step in steps)
    return Attempt(
        number, 0, 0, "1_0", "n1", 2, 1.0,
        reports=reports, checkpoints=saved, outcome=outcome, reason=reason, job_state=job_state,
        cause=cause_of(outcome, reason),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("attempts", "progress"),
    [
        ([attempt()], False),
        ([attempt(steps=(1, 2))], False),  # steps alone are lost
        ([attempt(saved=((1, "c/1"),))], True),
        ([attempt(saved=((0, "checkpoint-7"),))], True),
        ([attempt(saved=((1, "c/1"),)), attempt()], False),
        ([attempt(saved=((1, "c/1"),)), attempt(saved=((1, "c/1"),))], False),
        ([attempt(saved=((1, "c/1"),)), attempt(steps=(1, 2))], True),
        ([attempt(saved=((1, "c/1"),), steps=(2,)), attempt(steps=(2,))], False),
        # a step is an epoch here, and the checkpoints within it are numbered
        ([attempt(saved=((0, "checkpoint-7"),)), attempt(saved=((0, "checkpoint-12"),))], True),
        ([attempt(saved=((0, "checkpoint-12"),)), attempt(saved=((0, "checkpoint-7"),))], False),
        ([attempt(steps=(5,)), attempt(saved=((2, "c/2"),))], True),  # the first checkpoint there is
        ([attempt(saved=((3, "c/3"),)), attempt(), attempt(saved=((2, "c/2"),))], False),
    ],
)
def test_progress_is_what_the_next_attempt_can_go_on_from(attempts: list[Attempt], progress: bool) -> None:
    assert makes_progress(attempts) is progress


def test_how_far_attempts_got() -> None:
    assert reached([attempt()]) is None
    assert reached([attempt(steps=(1, 4)), attempt(saved=((3, "c/3"),))]) == 4


def said(attempts: list[Attempt]) -> str:
    cause = no_progress(attempts)
    return "" if cause is None else no_progress_text(cause, attempts)


def fail(number: int, reason: str = LIMIT, **more: object) -> Attempt:
    return attempt(number, Outcome.FAIL, reason, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("attempts", "reason"),
    [
        ([fail(0)], ""),
        ([fail(0), fail(1)], f"no progress: attempts 0 and 1 both ended before a first step: {LIMIT}"),
        ([fail(1, steps=(3,)), fail(2, steps=(3,))], f"no progress: attempts 1 and 2 both ended at step 3: {LIMIT}"),
        ([fail(0, steps=(3,)), fail(1, steps=(4,))], ""),
        ([fail(0, steps=(3,)), attempt(1), fail(2)], f"no progress: attempts 0 and 2 both ended at step 3: {LIMIT}"),
        ([fail(0, steps=(3,)), attempt(1, saved=((4, "c/4"),)), fail(2)], ""),
    ],
)
def test_the_time_limit_twice_at_the_same_step_ends_the_retries(attempts: list[Attempt], reason: str) -> None:
    assert said(attempts) == reason


@pytest.mark.parametrize("reason", ["x", "command was killed by signal 9 (SIGKILL)"])
def test_other_failures_are_left_to_the_retries_that_the_user_allows(reason: str) -> None:
    """The second of two SIGKILLs from outside may come before the attempt has loaded its data."""
    assert said([fail(0, reason, steps=(3,)), *(fail(n, reason) for n in range(1, 50))]) == ""


@pytest.mark.parametrize(
    ("attempts", "pair"),
    [
        ([fail(0, "x", steps=(3,)), fail(1, "x")], (0, 1)),
        ([fail(0, "x", steps=(3,)), attempt(1), fail(2, "x", steps=(3,))], (0, 2)),
        ([fail(0, "x", steps=(3,)), fail(1, "y", steps=(3,))], None),
        ([fail(0, "x", steps=(3,)), fail(1, "x", steps=(4,))], None),
        ([fail(0, "x"), fail(1, "x")], None),  # a start that fails may be anybody's fault
    ],
)
def test_two_failures_that_were_alike_are_told_once_no_retry_is_left(
    attempts: list[Attempt], pair: tuple[int, int] | None
) -> None:
    cause = repeated_failure(attempts)
    assert (None if cause is None else cause.attempts) == pair


def lived(number: int, seconds: float, *, steps: tuple[int, ...] = ()) -> Attempt:
    """An interrupted attempt whose first report came after 60 s, if any."""
    made = attempt(number, steps=steps)
    reports = tuple(replace(report, time=61.0) for report in made.reports)
    return replace(made, reports=reports, ended_at=1.0 + seconds)


def test_an_attempt_without_the_time_for_a_step_proves_nothing() -> None:
    first = lived(0, 90, steps=(1,))
    assert said([first, *(lived(n, 30) for n in range(1, 3 * INTERRUPTIONS))]) == ""
    assert said([first, *(lived(n, 61) for n in range(1, 1 + INTERRUPTIONS))]).startswith("no progress: 10 attempts")
    settled = [replace(lived(n, 90), elapsed_s=20.0) for n in range(1, 1 + INTERRUPTIONS)]
    assert said([first, *settled]) == ""  # the accounting knows better
    assert said([first, *(replace(a, elapsed_s=70.0) for a in settled)]) != ""


def test_attempts_of_unknown_length_count() -> None:
    killed = [replace(lived(n, 0), cause=EndCause(Cause.REPLACED)) for n in range(1, 1 + INTERRUPTIONS)]
    assert said([lived(0, 90, steps=(1,)), *killed]) != ""
    assert said([lived(n, 1) for n in range(INTERRUPTIONS)]) != ""  # no step is known, so none is too short


def test_even_attempts_without_time_come_to_an_end() -> None:
    short = [lived(n, 1) for n in range(1, MOST_INTERRUPTIONS)]
    assert said([lived(0, 90, steps=(1,)), *short[:-1]]) == ""
    assert said([lived(0, 90, steps=(1,)), *short, lived(100, 1)]).startswith("no progress: 100 attempts")


def test_interruptions_are_free_as_long_as_there_is_progress_now_and_then() -> None:
    stuck = [attempt(n, steps=(2,)) for n in range(INTERRUPTIONS)]
    assert said(stuck[:-1]) == ""
    assert said(stuck) == f"no progress: {INTERRUPTIONS} attempts in a row ended at step 2; the last: preempted"
    assert said([*stuck[:-1], attempt(50, steps=(3,)), *stuck[:-2]]) == ""
    assert said([attempt(n, steps=(n,)) for n in range(100)]) == ""


def test_being_cancelled_with_the_study_is_no_interruption_that_counts() -> None:
    assert said([attempt(n, job_state=JobState.CANCELLED) for n in range(3 * INTERRUPTIONS)]) == ""
