"""The rungs that are kept from call to call equal newly built ones."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from hposlurm.pruning.scoring import scoring
from hposlurm.search import Observation, next_requests
from hposlurm.search.ranking import Ranking, ranking
from hposlurm.search.rungs import standings
from hposlurm.space.expressions import parse
from hposlurm.space.metric_constraints import NO_LIMITS, Limits
from hposlurm.trial import Direction, Objective, TrialState
from tests.search.play import Play, problem_of

LEVELS = (1, 3, 9)
MEMORY = Limits((parse("gb <= 30"),), frozenset({"gb"}))
TWO = (Objective("loss"), Objective("acc", Direction.MAXIMIZE, weight=0.5))


def trial(rng: Random, number: int, rung: int, state: TrialState) -> Observation:
    curve = tuple((step, (rng.random(), rng.random())) for step in range(1, LEVELS[rung] + 1))
    is_open = state is TrialState.RUNNING
    metrics = {"gb": rng.choice([10.0, 30.0, 40.0 + rng.random()])}
    return Observation(
        number, {}, state, curve[-1][1], curve=curve, to_step=LEVELS[rung], is_open=is_open, metrics=metrics
    )


def changed(rng: Random, observations: list[Observation]) -> list[Observation]:
    """A few trials went on, failed or were added."""
    found = list(observations)
    for _ in range(rng.randrange(4)):
        number, state = rng.randrange(len(found)), rng.choice(list(TrialState))
        found[number] = trial(rng, number, rng.randrange(3), state)
    found += [trial(rng, len(found) + i, 0, TrialState.PAUSED) for i in range(rng.randrange(3))]
    return found


@pytest.mark.parametrize("limits", [NO_LIMITS, MEMORY], ids=["no limits", "limits"])
@pytest.mark.parametrize("compare_by", ["first", "weighted", "domination"])
def test_an_updated_ranking_equals_a_new_one(compare_by: str, limits: Limits) -> None:
    rng = Random(5)
    observations = [trial(rng, n, rng.randrange(3), rng.choice(list(TrialState))) for n in range(60)]
    kept = Ranking(LEVELS, TWO, compare_by, limits)
    for _ in range(60):
        observations = changed(rng, observations)
        kept.update(observations)
        fresh = Ranking(LEVELS, TWO, compare_by, limits)
        fresh.update(observations)
        assert (kept.rungs, kept.waiting, kept.sent) == (fresh.rungs, fresh.waiting, fresh.sent)
        expected = standings(observations, LEVELS, scoring(TWO, compare_by), limits)
        assert kept.rungs == [[s.place for s in rung] for rung in expected]


def test_fewer_trials_than_before_are_another_study() -> None:
    rng = Random(5)
    observations = [trial(rng, n, 0, TrialState.PAUSED) for n in range(60)]
    problem = replace(problem_of(60), objectives=TWO)
    first = ranking(problem, LEVELS, observations)
    assert len(first.rungs[0]) == 60
    assert len(ranking(problem, LEVELS, observations[:59]).rungs[0]) == 59


def test_changed_limits_rank_all_trials_again() -> None:
    rng = Random(5)
    observations = [trial(rng, n, 0, TrialState.PAUSED) for n in range(20)]
    problem = replace(problem_of(20), objectives=TWO)
    free = list(ranking(problem, LEVELS, observations).rungs[0])
    problem = replace(problem, space=replace(problem.space, limits=MEMORY))
    limited = ranking(problem, LEVELS, observations).rungs[0]
    assert limited != free and sorted(limited) == limited
    assert [place[2] for place in limited if not place[0]] == [
        place[2] for place in free if observations[place[2]].metrics["gb"] <= 30
    ]


def test_two_studies_in_one_process_do_not_affect_each_other() -> None:
    problem = problem_of(40, algorithm="asha", max_resource=9)
    plays = [Play(problem, lambda params, step, n=n: Random(f"{n} {params} {step}").random()) for n in range(2)]
    separate = [Play(problem, play.loss) for play in plays]
    for play in separate:
        play.waves(lambda _: 4)
    for _ in range(60):
        for play in plays:
            for number, request in play.start(4):
                play.end(number, request)
    assert [play.requests for play in plays] == [play.requests for play in separate]


def test_a_changed_trial_is_noticed_whatever_its_previous_state() -> None:
    problem = problem_of(9, algorithm="asha", max_resource=9)
    paused = [
        Observation(n, {"x": n / 9}, TrialState.PAUSED, (float(n),), curve=((1, (float(n),)),), to_step=1)
        for n in range(9)
    ]
    assert [request.trial for request in next_requests(problem, paused, 3).requests] == [0, 1, 2]
    failed = [replace(paused[0], state=TrialState.FAIL), *paused[1:]]
    assert [request.trial for request in next_requests(problem, failed, 3).requests] == [1, 2]
    worse = [*paused[:1], replace(paused[1], curve=((1, (9.0,)),)), *paused[2:]]
    assert [request.trial for request in next_requests(problem, worse, 3).requests] == [0, 2, 3]
