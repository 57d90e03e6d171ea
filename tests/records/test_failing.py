"""When trials have all failed alike."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hposlurm.records.failing import failed_alike, mark_paused, paused_for
from hposlurm.records.fold import unread
from hposlurm.records.layout import StudyLayout
from hposlurm.trial import Attempt, Cause, EndCause, Outcome

EXIT_2 = EndCause(Cause.COMMAND_FAILED, exit_code=2, detail="no such file")
MISSING = EndCause(Cause.METRIC_MISSING, metric="val_loss", detail="loss")
OTHER_FILE, LARGE = replace(EXIT_2, detail="another file"), EndCause(Cause.OUT_OF_GPU_MEMORY, detail="9 GiB")
NO_ROOM = EndCause(Cause.OUT_OF_GPU_MEMORY, detail="Tried to allocate 2.00 GiB")


def attempt(outcome: Outcome | None, cause: EndCause | None = None) -> Attempt:
    return replace(unread(0), outcome=outcome, cause=cause)


FAILED, NOT_ENDED = attempt(Outcome.FAIL, EXIT_2), attempt(None)
PREEMPTED = attempt(Outcome.INTERRUPTED, EndCause(Cause.PREEMPTED))
DROPPED = attempt(Outcome.DROPPED, EndCause(Cause.CANCELLED))


@pytest.mark.parametrize(
    ("attempts", "cause"),
    [
        ([FAILED] * 3, EXIT_2),
        ([FAILED] * 2, None),
        ([FAILED] * 9, EXIT_2),
        ([FAILED, FAILED, attempt(Outcome.FAIL, OTHER_FILE)], OTHER_FILE),
        ([FAILED, FAILED, attempt(Outcome.FAIL, replace(EXIT_2, exit_code=1))], None),
        ([FAILED, FAILED, attempt(Outcome.FAIL, MISSING)], None),
        ([attempt(Outcome.FAIL, MISSING)] * 3, MISSING),
        ([FAILED, FAILED, attempt(Outcome.FAIL, replace(MISSING, metric="accuracy"))], None),
        ([attempt(Outcome.INFEASIBLE, cause) for cause in (LARGE, LARGE, NO_ROOM)], NO_ROOM),
        ([FAILED, PREEMPTED, DROPPED, FAILED, FAILED], EXIT_2),
        ([FAILED, PREEMPTED, FAILED], None),
        ([FAILED, NOT_ENDED, FAILED, FAILED], None),
        ([FAILED, attempt(Outcome.COMPLETE), FAILED, FAILED], None),
        ([FAILED, attempt(Outcome.PRUNED), FAILED, FAILED], None),
        ([attempt(Outcome.FAIL)] * 3, None),
        ([], None),
    ],
)  # fmt: skip
def test_three_failures_alike_and_nothing_else(attempts: list[Attempt], cause: EndCause | None) -> None:
    assert failed_alike(enumerate(attempts), 3, 0) == cause


@pytest.mark.parametrize(
    ("trials", "is_paused"), [([0] * 9, False), ([0, 1] * 5, False), ([0, 1, 2] * 2, True), ([0] * 5 + [1, 2], True)]
)
def test_the_retries_of_one_trial_are_not_several_trials(trials: list[int], is_paused: bool) -> None:
    assert (failed_alike([(trial, FAILED) for trial in trials], 6, retries=8) is not None) == is_paused


def test_no_more_attempts_are_looked_at_than_decide() -> None:
    def attempts():
        yield attempt(Outcome.COMPLETE)
        raise AssertionError("one more was read")

    assert failed_alike(enumerate(attempts()), 3, 0) is None


def test_the_mark_of_a_paused_wave_is_made_once_and_may_be_damaged(tmp_path: Path) -> None:
    wave = StudyLayout(tmp_path).wave(0)
    wave.root.mkdir(parents=True)
    assert paused_for(wave) is None
    mark_paused(wave, EXIT_2)
    mark_paused(wave, MISSING)
    assert paused_for(wave) == EXIT_2
    wave.paused.write_text("{")
    assert paused_for(wave) is None
