"""Rungs: where they lie, who stands where, and who goes on."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hposlurm.scoring import scoring
from hposlurm.search.observation import Observation
from hposlurm.search.rungs import is_sent_to, rung_levels, standings, value_at
from hposlurm.trial import Direction, Objective, TrialState

LOSS = (Objective("loss"),)
TWO = (Objective("loss", weight=2.0), Objective("acc", Direction.MAXIMIZE, weight=0.5))


def paused(number: int, *losses: float, every: int = 1) -> Observation:
    """A trial that reported once every so many steps and was paused at the last one."""
    curve = tuple((every * (i + 1), (loss,)) for i, loss in enumerate(losses))
    return Observation(number, {}, TrialState.PAUSED, (losses[-1],), curve=curve, to_step=curve[-1][0])


@pytest.mark.parametrize(
    ("least", "most", "factor", "levels"),
    [
        (1, 81, 3, (1, 3, 9, 27, 81)),
        (3, 52, 3, (3, 9, 27, 52)),
        (1, 5, 2, (1, 2, 5)),  # 4 is too close to 5
        (2, 3, 2, (3,)),
        (4, 4, 3, (4,)),
        (1, 1000, 4, (1, 4, 16, 64, 256, 1000)),
    ],
)
def test_rungs_grow_by_the_factor_and_none_is_just_below_the_end(
    least: int, most: int, factor: int, levels: tuple[int, ...]
) -> None:
    assert rung_levels(least, most, factor) == levels


def test_a_trials_value_at_a_rung_is_that_of_the_first_report_at_it_or_beyond() -> None:
    trial = paused(0, 5.0, 4.0, 3.0, every=2)  # at 2, 4, 6
    assert [value_at(trial, level) for level in (1, 2, 3, 6)] == [(5.0,), (5.0,), (4.0,), (3.0,)]
    assert value_at(trial, 7) is None


def test_an_assignment_that_ended_at_the_rung_counts_with_its_last_report() -> None:
    """Training in steps of two that was told to end at 3 says nothing at 3, now or after it went on."""
    curve = ((2, (5.0,)),)
    waits = Observation(0, {}, TrialState.PAUSED, (5.0,), curve=curve, to_step=3)
    assert value_at(waits, 3) == (5.0,)
    went_on = Observation(0, {}, TrialState.RUNNING, None, curve=(*curve, (4, (1.0,))), to_step=9, ends=((3, (5.0,)),))
    assert value_at(went_on, 3) == (5.0,)
    assert value_at(went_on, 9) is None


def test_a_failed_trial_is_the_worst_of_the_first_rung_that_it_did_not_reach() -> None:
    failed = Observation(2, {}, TrialState.FAIL, curve=((1, (0.1,)),), to_step=9)
    found = standings([paused(0, 3.0, 2.0, 1.0), paused(1, 2.0, 2.0, 2.0), failed], (1, 3, 9), scoring(LOSS))
    assert [[s.number for s in rung] for rung in found] == [[2, 1, 0], [0, 1, 2], []]
    assert found[1][-1].score == math.inf


def test_ties_are_broken_by_number() -> None:
    (rung,) = standings([paused(1, 1.0), paused(0, 1.0), paused(2, 0.5)], (1,), scoring(LOSS))
    assert [s.number for s in rung] == [2, 0, 1]


def test_who_was_sent_to_a_rung_stays_so_even_if_it_failed_on_its_way() -> None:
    trial = Observation(0, {}, TrialState.FAIL, to_step=9)
    assert [is_sent_to(trial, level) for level in (3, 9, 27)] == [True, True, False]
    assert is_sent_to(Observation(0, {}, TrialState.RUNNING), 10**6)  # to the training code's own end


def test_several_objectives_are_compared_by_the_first_the_weighted_sum_or_by_layers() -> None:
    points = [(1.0, 0.0), (2.0, 8.0), (3.0, 4.0), (2.0, 8.0)]
    assert scoring(TWO)(points) == [1.0, 2.0, 3.0, 2.0]
    assert scoring(TWO, "weighted")(points) == [2.0, 0.0, 4.0, 0.0]
    layers = scoring(TWO, "domination")(points)
    assert [int(score) for score in layers] == [0, 0, 1, 0]
    assert layers[1] == layers[3]
    assert layers[0] < layers[1]


@given(st.lists(st.tuples(*[st.integers(0, 6).map(float)] * 2), max_size=25), st.booleans())
def test_layers_are_what_is_left_when_the_non_dominated_are_taken_away(
    points: list[tuple[float, ...]], three: bool
) -> None:
    if three:  # the general way, beside the fast one for pairs
        points = [(a, b, (a * b) % 4) for a, b in points]
    objectives = [Objective(f"m{i}") for i in range(3 if three else 2)]
    scores = scoring(objectives, "domination")(points)
    left = set(range(len(points)))
    layer = 0
    while left:
        front = {
            i
            for i in left
            if not any(
                points[j] != points[i] and all(a <= b for a, b in zip(points[j], points[i], strict=True)) for j in left
            )
        }
        assert {i for i in left if int(scores[i]) == layer} == front
        left -= front
        layer += 1
