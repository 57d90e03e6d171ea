"""ASHA by promotion: which trials are promoted, in which order, and how many."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hposlurm.search import Observation, next_requests
from hposlurm.search.fresh import at_one_rung
from hposlurm.space import CategoricalParameter, SearchSpace
from hposlurm.trial import TrialState
from tests.search.play import Play, problem_of

LEVELS = (1, 3, 9)
ASHA = {"algorithm": "asha", "min_resource": 1, "max_resource": 9}


def noisy(seed: int) -> Play:
    """Losses whose order differs from rung to rung."""

    def loss(params: object, step: int) -> float:
        return Random(f"{seed} {params} {step}").random() + 1 / step

    return Play(problem_of(60, **ASHA), loss)


def reference(observations: Sequence[Observation], eta: int) -> tuple[int, int] | None:
    """Algorithm 2 of Li et al. (2018) word by word: returns the trial that `get_job` promotes, and its rung."""
    for k in (1, 0):
        here = [o for o in observations if any(step == LEVELS[k] for step, _ in o.curve)]
        here.sort(key=lambda o: (dict(o.curve)[LEVELS[k]], o.number))
        candidates = here[: len(here) // eta]
        promotable = [o for o in candidates if o.to_step == LEVELS[k]]
        if promotable:
            return promotable[0].number, LEVELS[k + 1]
    return None


@pytest.mark.parametrize("seed", range(5))
def test_every_decision_is_that_of_the_published_algorithm(seed: int) -> None:
    play, rng = noisy(seed), Random(seed)
    running: list[tuple[int, object]] = []
    decisions = 0
    for _ in range(120):
        expected = reference(play.observations, 3)
        for number, request in play.start(1):
            running.append((number, request))
            decisions += request.trial is not None
            if len(play.observations) < 60:
                assert (None if request.trial is None else (request.trial, request.to_step)) == expected
        if len(running) == 7 or (running and len(play.observations) == 60):
            play.end(*running.pop(rng.randrange(len(running))))
    assert decisions > 10


def test_about_a_third_is_sent_on_from_each_rung() -> None:
    """Not 102, 100, 98 of 102, as it would be if promoted trials were dropped before the best third is taken."""
    play = Play(problem_of(102, **ASHA), loss=lambda params, step: Random(f"{params} {step}").random())
    rng = Random(1)
    play.workers(8, lambda _, request: (request.to_step - request.from_step) * rng.uniform(1, 2))
    lowest, middle, top = play.census(LEVELS)
    assert lowest == 102
    assert 34 <= middle <= 45
    assert middle // 3 <= top <= 20


def at_the_lowest_rung(*losses: float | None) -> list[Observation]:
    """Returns trials that wait at the rung; None stands for one that failed before."""
    return [
        Observation(n, {"x": n / 99}, TrialState.FAIL, to_step=1)
        if loss is None
        else Observation(n, {"x": n / 99}, TrialState.PAUSED, (loss,), curve=((1, (loss,)),), to_step=1)
        for n, loss in enumerate(losses)
    ]


def test_no_failed_trial_is_promoted_however_many_failed() -> None:
    answer = next_requests(problem_of(9, **ASHA), at_the_lowest_rung(1.0, *[None] * 8), 3)
    assert [request.trial for request in answer.requests] == [0]


def test_a_rung_with_fewer_trials_than_the_factor_promotes_none() -> None:
    (request,) = next_requests(problem_of(9, **ASHA), at_the_lowest_rung(1.0, 2.0), 1).requests
    assert request.trial is None


def test_after_the_last_new_trial_promotions_go_on_until_nothing_is_left() -> None:
    play = Play(problem_of(27, **ASHA))
    play.waves(lambda _: 4)
    assert play.census(LEVELS)[0] == 27
    assert play.census(LEVELS)[2] >= 3
    best = min(play.observations, key=lambda o: o.params["x"])  # type: ignore[arg-type, return-value]
    assert best.state is TrialState.COMPLETE
    assert not any(o.is_open for o in play.observations)


def test_a_study_too_small_for_a_promotion_sends_its_best_trial_to_the_end() -> None:
    play = Play(problem_of(2, **ASHA))
    play.waves(lambda _: 4)
    assert play.census(LEVELS) == [2, 1, 1]
    states = sorted(o.state for o in play.observations)
    assert states == [TrialState.COMPLETE, TrialState.PAUSED]


def test_a_promoted_trial_continues_where_it_stopped_and_has_a_reason() -> None:
    play = Play(problem_of(9, **ASHA))
    play.waves(lambda _: 9)
    promoted = [(number, request) for number, request in play.requests if request.trial is not None]
    assert [(request.from_step, request.to_step, request.is_final) for _, request in promoted] == [
        (1, 3, False),
        (1, 3, False),
        (1, 3, False),
        (3, 9, True),
    ]
    number, request = promoted[0]
    value = play.loss(request.params, 1)
    threshold = play.loss(promoted[2][1].params, 1)
    assert request.why == f"rung 1: loss {value:.6g}, place 1 of 9, the best 3 go on (threshold {threshold:.6g})"
    assert request.params == play.observations[number].params


def test_failed_trials_count_as_the_worst_of_their_rung() -> None:
    play = Play(problem_of(9, **ASHA), fails=lambda _, number: number in (0, 1, 2))
    play.waves(lambda _: 9, most=2)
    assert {number for number, request in play.requests if request.to_step == 3}.isdisjoint({0, 1, 2})
    assert play.census(LEVELS)[1] == 3  # a third of nine, not of the six that are left


def test_an_exhausted_space_ends_the_search_after_its_promotions() -> None:
    four = SearchSpace((CategoricalParameter("x", (1, 2, 3, 4)),))
    play = Play(problem_of(None, space=four, **ASHA))
    play.waves(lambda _: 4)
    assert play.census(LEVELS) == [4, 1, 1]
    assert next_requests(play.problem, play.observations, 4).finished == "the search space is exhausted"


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.randoms(use_true_random=False), st.integers(1, 6))
def test_the_order_in_which_results_came_does_not_matter(rng: Random, workers: int) -> None:
    """Decisions depend on the known values, not on the order in which they came."""
    play = noisy(rng.randrange(100))
    running: list[tuple[int, object]] = []
    for _ in range(40):
        running += play.start(workers - len(running))
        play.end(*running.pop(rng.randrange(len(running))))
    again = noisy(0)
    again.loss = play.loss
    again.observations = [*play.observations]
    assert next_requests(again.problem, again.observations, 3) == next_requests(play.problem, play.observations, 3)


def test_a_model_learns_the_highest_rung_that_enough_trials_reached() -> None:
    play = Play(problem_of(30, **ASHA))
    play.workers(4, lambda _, request: float(request.to_step))
    at_top = at_one_rung(play.observations, LEVELS, 5)
    level_3 = [o.number for o in play.observations if any(step == 3 for step, _ in o.curve)]
    assert len([o for o in play.observations if o.state is TrialState.COMPLETE]) < 5 <= len(level_3)
    assert [o.number for o in at_top if o.state is TrialState.COMPLETE] == level_3
    shown = {o.number: o.values for o in at_top}
    assert all(shown[n] == (play.loss(play.observations[n].params, 3),) for n in level_3)
    assert {o.state for o in at_top} == {TrialState.COMPLETE, TrialState.FAIL}


def test_a_trial_that_is_still_expected_at_the_rung_counts_as_running() -> None:
    waits = Observation(0, {"x": 0.1}, TrialState.PAUSED, (1.0,), curve=((1, (1.0,)),), to_step=1)
    runs = Observation(1, {"x": 0.2}, TrialState.RUNNING, to_step=1, is_open=True)
    lost = Observation(2, {"x": 0.3}, TrialState.FAIL, infeasible=True, to_step=1)
    shown = at_one_rung([waits, runs, lost], LEVELS, 1)
    assert [o.state for o in shown] == [TrialState.COMPLETE, TrialState.RUNNING, TrialState.FAIL]
    assert shown[2].infeasible
