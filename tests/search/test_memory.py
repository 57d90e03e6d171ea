"""The cache of a search belongs to one problem, and answers are the same without it."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from hposlurm.search import next_requests
from hposlurm.search.memory import SearchMemory
from hposlurm.search.observation import Observation
from hposlurm.space import CategoricalParameter, SearchSpace
from tests.search.play import Play, problem_of


@pytest.mark.parametrize("algorithm", ["asha", "auto", "tpe"])
def test_answers_are_the_same_without_the_cache(algorithm: str) -> None:
    problem = problem_of(30, algorithm=algorithm, max_resource=9)
    play = Play(problem, lambda params, step: Random(f"{params} {step}").random())
    for _ in range(12):
        observations: list[Observation] = play.observations
        afresh = next_requests(replace(problem, memory=SearchMemory()), observations, 4)
        assert next_requests(problem, observations, 4) == afresh
        for number, request in play.start(4):
            play.end(number, request)


def test_points_are_cached_while_the_space_has_the_same_repr() -> None:
    memory = SearchMemory()
    one, other = (SearchSpace((CategoricalParameter("c", (choice,)),)) for choice in (1, True))
    assert one == other
    assert memory.known_points(one) is memory.known_points(replace(one))
    assert memory.known_points(one) is not memory.known_points(other)


def test_two_problems_share_nothing() -> None:
    assert (
        problem_of(3, algorithm="asha", max_resource=9).memory
        is not problem_of(3, algorithm="asha", max_resource=9).memory
    )
