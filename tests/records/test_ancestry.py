"""Tests a trial's line of ancestors, and the steps that each of them trained."""

from __future__ import annotations

from hposlurm.records.ancestry import legs
from hposlurm.records.history import History
from hposlurm.trial import Attempt, Stage, Trial, TrialState


def trial(
    number: int, *, saved: tuple[int, ...] = (), parent: int | None = None, at: int = 0, origin: int = 0
) -> Trial:
    """A copy was decided at step `at`, and begins with its parent's checkpoint of step `origin`."""
    attrs = {} if parent is None else {"parent": parent, "parent_step": at}
    resume = None if parent is None else f"trials/{parent:05d}/checkpoints/step-{origin}"
    checkpoints = tuple((step, f"/elsewhere/step-{step}") for step in saved)
    return Trial(
        number=number,
        params={"x": number},
        signature="01234567",
        seed=1,
        wave=0,
        state=TrialState.COMPLETE,
        attempts=(Attempt(0, 0, 0, "1_0", "n1", 0, 0.0, checkpoints=checkpoints),),
        attrs=attrs,
        stages=(Stage(0, 0, at, None, resume, True, ""),),
    )


def line(*trials: Trial) -> list[tuple[int, int]]:
    return [(leg.step, leg.trial) for leg in legs(History((), trials, {}), trials[-1])]


def test_a_trial_that_is_not_a_copy_is_its_own_line() -> None:
    assert line(trial(0)) == [(0, 0)]


def test_the_values_of_each_ancestor_apply_until_the_copy_was_made() -> None:
    assert line(
        trial(0, saved=(2,)), trial(1, saved=(4,), parent=0, at=2, origin=2), trial(2, parent=1, at=4, origin=4)
    ) == [(0, 0), (2, 1), (4, 2)]


def test_a_copy_begins_where_the_checkpoint_does_even_if_that_is_older() -> None:
    assert line(trial(0, saved=(2, 4)), trial(1, parent=0, at=5, origin=4)) == [(0, 0), (4, 1)]


def test_without_a_known_checkpoint_the_step_of_the_decision_counts() -> None:
    assert line(trial(0), trial(1, parent=0, at=5, origin=4)) == [(0, 0), (5, 1)]
