"""Successive halving and Hyperband: sizes, decided rungs, verdicts, and brackets side by side."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hposlurm.search import TrainingRequest, next_requests, requests_per_wave
from hposlurm.search.halving import shapes
from hposlurm.trial import TrialState
from tests.search.play import Play, problem_of

HALVING = {"algorithm": "successive_halving", "min_resource": 1, "max_resource": 9}
BAND = {"algorithm": "hyperband", "min_resource": 1, "max_resource": 9}


def by_rungs(play: Play) -> int:
    return requests_per_wave(play.problem, play.observations) or 0


def test_brackets_are_those_of_hyperbands_table() -> None:
    """R = 81, eta = 3: Li et al., JMLR 2018, table 1."""
    found = [shape.sizes(5, 3) for shape in shapes(5, 3, None)]
    assert found == [[81, 27, 9, 3, 1], [34, 11, 3, 1], [15, 5, 1], [8, 2], [5]]
    assert [shape.first for shape in shapes(5, 3, 2)] == [0, 1]


def test_a_rung_is_a_wave_and_one_trial_of_nine_survives() -> None:
    play = Play(problem_of(9, **HALVING))
    waves = play.waves(by_rungs)
    assert [[request.to_step for _, request in wave] for wave in waves] == [[1] * 9, [3] * 3, [9]]
    order = sorted(play.observations, key=lambda o: float(o.params["x"]))  # type: ignore[arg-type]
    assert [o.state for o in order] == [TrialState.COMPLETE] + [TrialState.PRUNED] * 8
    assert {number for number, _ in waves[1]} == {o.number for o in order[:3]}


def test_the_reason_of_a_loser_has_rung_value_and_threshold() -> None:
    play = Play(problem_of(9, **HALVING))
    play.waves(by_rungs, most=2)
    order = sorted(play.observations, key=lambda o: float(o.params["x"]))  # type: ignore[arg-type]
    assert len(play.verdicts) == 6
    verdict = next(v for v in play.verdicts if v.trial == order[4].number)
    mine, needed = (play.loss(order[place].params, 1) for place in (4, 2))
    assert verdict.reason == f"rung 1: loss {mine:.6g}, place 5 of 9, the best 3 go on (threshold {needed:.6g})"


def test_a_rung_is_not_decided_while_one_of_its_trials_runs() -> None:
    play = Play(problem_of(9, **HALVING))
    first, *others = play.start(9)
    for number, request in others:
        play.end(number, request)
    assert next_requests(play.problem, play.observations, 9).requests == ()
    play.end(*first)
    assert len(next_requests(play.problem, play.observations, 9).requests) == 3


def test_a_failed_trial_does_not_delay_its_rung_and_loses() -> None:
    play = Play(problem_of(9, **HALVING), fails=lambda _, number: number < 7)
    waves = play.waves(by_rungs)
    assert [len(wave) for wave in waves] == [9, 2, 1]
    assert {number for number, _ in waves[1]} == {7, 8}


def test_survivors_that_found_no_slot_go_on_later() -> None:
    play = Play(problem_of(9, **HALVING))
    for number, request in play.start(9):
        play.end(number, request)
    sent = []
    for _ in range(3):
        ((number, request),) = play.start(1)
        assert request.to_step == 3
        sent.append(number)
        play.end(number, request)
    best = sorted(play.observations, key=lambda o: float(o.params["x"]))[:3]  # type: ignore[arg-type]
    assert sent == [o.number for o in best]
    assert [request.to_step for _, request in play.start(9)] == [9]


def test_free_slots_start_the_next_bracket_while_a_rung_still_runs() -> None:
    play = Play(problem_of(None, **HALVING))
    first = play.start(12)
    assert [request.attrs["bracket"] for _, request in first] == [0] * 9 + [1] * 3
    for number, request in first[:9]:
        play.end(number, request)
    again = play.start(9)
    assert [(request.trial is not None, request.attrs.get("bracket")) for _, request in again] == [(True, None)] * 3 + [
        (False, 1)
    ] * 6


def test_of_several_decided_rungs_the_highest_comes_first() -> None:
    play = Play(problem_of(None, **HALVING))
    older, newer = play.start(9), play.start(9)
    for number, request in newer:
        play.end(number, request)
    for number, request in (*play.start(3), *older):
        play.end(number, request)
    assert [request.to_step for _, request in play.start(4)] == [9, 3, 3, 3]


def test_a_bracket_that_the_number_of_trials_cuts_short_is_decided_as_it_is() -> None:
    play = Play(problem_of(13, **HALVING))
    waves = play.waves(by_rungs)
    assert [[request.to_step for _, request in wave] for wave in waves] == [[1] * 9, [3] * 3, [9], [1] * 4, [3], [9]]
    assert sum(o.state is TrialState.COMPLETE for o in play.observations) == 2


def test_trials_that_are_allowed_later_open_a_new_bracket() -> None:
    play = Play(problem_of(4, **HALVING))
    play.waves(by_rungs)
    play.problem = problem_of(8, **HALVING)
    (wave, *_) = play.waves(by_rungs)
    assert [request.attrs["bracket"] for _, request in wave] == [1] * 4


def test_all_brackets_of_hyperband_lie_side_by_side_in_one_wave() -> None:
    play = Play(problem_of(34, **BAND))
    waves = play.waves(by_rungs)
    sizes = [{step: [request.to_step for _, request in wave].count(step) for step in (1, 3, 9)} for wave in waves]
    assert sizes == [
        {1: 9, 3: 5, 9: 3},  # 9 at 1, ceil(3 · 3 / 2) at 3, 3 at 9
        {1: 0, 3: 3, 9: 1},
        {1: 0, 3: 0, 9: 1},
        {1: 9, 3: 5, 9: 3},  # and again
        {1: 0, 3: 3, 9: 1},
        {1: 0, 3: 0, 9: 1},
    ]


@pytest.mark.parametrize("algorithm", ["successive_halving", "hyperband", "bohb"])
@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 99), workers=st.integers(1, 12), n_trials=st.integers(1, 40))
def test_in_any_order_no_trial_is_left_over_and_no_step_is_trained_twice(
    algorithm: str, seed: int, workers: int, n_trials: int
) -> None:
    search = {"algorithm": algorithm, "min_resource": 1, "max_resource": 9, "startup_trials": 1000}
    play = Play(problem_of(n_trials, **search), fails=lambda _, number: (number + seed) % 11 == 0)
    play.workers(workers, lambda number, _: 1.0 + (number * 7 + seed) % 5)
    assert len(play.observations) == n_trials
    assert {o.state for o in play.observations} <= {TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL}
    trained: dict[int, list[TrainingRequest]] = {}
    for number, request in play.requests:
        trained.setdefault(number, []).append(request)
    for requests in trained.values():
        assert [request.from_step for request in requests[1:]] == [request.to_step for request in requests[:-1]]
        assert [request.is_final for request in requests] == [request.to_step == 9 for request in requests]


def test_bohb_proposes_by_a_model_once_a_rung_has_enough_results() -> None:
    """Random points lie in the best fifth of the range one time in five."""
    late: list[float] = []
    for seed in range(3):
        search = {"algorithm": "bohb", "min_resource": 1, "max_resource": 9, "startup_trials": 5, "seed": seed}
        play = Play(problem_of(50, **search))
        play.workers(1, lambda _, request: float(request.to_step or 0))
        origins = [request.attrs["origin"] for _, request in play.requests if request.trial is None]
        assert set(origins[:5]) == {"random"}
        assert set(origins[10:]) == {"tpe"}
        late += [float(o.params["x"]) for o in play.observations[20:]]  # type: ignore[arg-type]
    assert sum(x < 0.2 for x in late) / len(late) > 0.35
