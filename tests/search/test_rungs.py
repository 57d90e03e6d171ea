"""Rungs: their steps, the places of trials, and which are promoted."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hposlurm.decisions import problem_of
from hposlurm.pruning.scoring import scoring
from hposlurm.search.observation import Observation
from hposlurm.search.rungs import is_sent_to, placing_text, placings, rung_levels, standings, value_at
from hposlurm.space.expressions import parse
from hposlurm.space.metric_constraints import Limits
from hposlurm.spec import parse as parse_spec
from hposlurm.trial import Direction, Objective, TrialState

LOSS = (Objective("loss"),)
TWO = (Objective("loss", weight=2.0), Objective("acc", Direction.MAXIMIZE, weight=0.5))


def paused(number: int, *losses: float, every: int = 1) -> Observation:
    """Returns a trial that reported at regular steps and was paused at the last one."""
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


def test_a_trials_value_at_a_rung_is_that_of_the_first_report_at_or_after_it() -> None:
    trial = paused(0, 5.0, 4.0, 3.0, every=2)  # at 2, 4, 6
    assert [value_at(trial, level) for level in (1, 2, 3, 6)] == [(5.0,), (5.0,), (4.0,), (3.0,)]
    assert value_at(trial, 7) is None


def test_an_assignment_that_ended_at_the_rung_counts_with_its_last_report() -> None:
    """Training in steps of two that should end at 3 has no report at 3, now or after it continued."""
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


def test_a_trial_that_breaks_a_limit_ranks_between_those_that_keep_it_and_failed_ones() -> None:
    limits = Limits((parse("gb <= 30"),), frozenset({"gb"}))
    trials = [paused(0, 1.0), paused(1, 3.0), paused(2, 0.5), paused(3, 2.0)]
    known = [replace(o, metrics={"gb": gb}) for o, gb in zip(trials, (31.0, 30.0, 40.0, 10.0), strict=True)]
    failed = Observation(4, {}, TrialState.FAIL, to_step=1, metrics={"gb": 1.0})
    (rung,) = standings([*known, failed], (1,), scoring(LOSS), limits)
    assert [s.number for s in rung] == [3, 1, 0, 2, 4]


def text_of(observations: list[Observation], number: int, goers: int, **search: Any) -> str:
    weights = ({"weight": 2.0}, {"weight": 0.5}) if search.get("compare_by") == "weighted" else ({}, {})
    objectives = [{"name": "loss", **weights[0]}, {"name": "acc", "direction": "maximize", **weights[1]}]
    data = {
        "name": "rungs",
        "objectives": objectives[: len(observations[0].curve[0][1])],
        "parameters": {"x": {"type": "float", "min": 0.0, "max": 1.0}},
        "metrics": ["gb"],
        "constraints": ["gb <= 30"],
        "search": {"algorithm": "asha", "max_resource": 9, **search},
        "budget": {"n_trials": 9},
        "trial": {"command": "true {{ x }}"},
    }
    problem = problem_of(parse_spec(data, "rungs"), ())
    score = scoring(problem.objectives, problem.search.compare_by)
    (rung,) = standings(observations, (1,), score, problem.space.limits)
    placing = placings(rung, 1, goers, lambda n: value_at(observations[n], 1))[number]
    return placing_text(placing, problem, observations[number])


def test_a_decision_says_which_limit_was_broken() -> None:
    trials = [replace(paused(n, 1.0 + n), metrics={"gb": gb}) for n, gb in enumerate((31.0, 20.0, 40.0))]
    assert text_of(trials, 0, 1) == (
        "rung 1: loss 1, breaks gb <= 30: gb is 31, place 2 of 3, the best goes on (threshold 2)"
    )
    assert text_of(trials, 1, 2) == "rung 1: loss 2, place 1 of 3, the best 2 go on"  # the other one breaks it as well


@pytest.mark.parametrize(
    ("compare_by", "words"),
    [
        ("first", "loss 2, acc 0.5, place 2 of 3, the best goes on (threshold 1)"),
        (
            "weighted",
            "loss 2, acc 0.5, weighted sum 3.75, place 3 of 3, the best goes on (threshold weighted sum 1.75)",
        ),
        (
            "domination",
            "loss 2, acc 0.5, layer 2 of domination, place 2 of 3, the best goes on (threshold layer 1 of domination)",
        ),
    ],
)
def test_a_decision_on_several_objectives_says_what_was_compared(compare_by: str, words: str) -> None:
    values = [(1.0, 0.1), (2.0, 0.5), (1.0, 0.1)]
    values[2] = (2.5, 6.5) if compare_by == "weighted" else (2.5, 0.4)
    if compare_by == "domination":
        values[0] = (1.0, 0.6)
    trials = [
        Observation(n, {}, TrialState.PAUSED, v, curve=((1, v),), to_step=1, metrics={"gb": 1.0})
        for n, v in enumerate(values)
    ]
    assert text_of(trials, 1, 1, compare_by=compare_by) == f"rung 1: {words}"


def test_ties_are_broken_by_number() -> None:
    (rung,) = standings([paused(1, 1.0), paused(0, 1.0), paused(2, 0.5)], (1,), scoring(LOSS))
    assert [s.number for s in rung] == [2, 0, 1]


def test_a_trial_that_failed_on_its_way_to_a_rung_still_counts_as_sent_there() -> None:
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
def test_each_layer_is_not_dominated_once_the_better_layers_are_removed(
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
