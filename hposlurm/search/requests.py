"""The search's one entry: what is to be done next, as a pure function of what is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from hposlurm.search.asha import asha
from hposlurm.search.fresh import fresh
from hposlurm.search.halving import halving, rung_size
from hposlurm.search.observation import Answer, Observation, SearchProblem
from hposlurm.search.population import generation_ends, population
from hposlurm.search.rungs import levels_of

if TYPE_CHECKING:
    from hposlurm.spec import SearchSpec

Schedule = Callable[[SearchProblem, Sequence[Observation], int], Answer]


def next_requests(problem: SearchProblem, observations: Sequence[Observation], n: int) -> Answer:
    """Up to `n` requests; the same arguments give the same answer in every process. Raises RequestError, SpaceError.

    `observations` are in the order of the trials' numbers. None of a trial's open assignments is repeated here.
    """
    schedule = _SCHEDULES.get(problem.search.pair[1], _to_the_end)
    return schedule(problem, observations, max(n, 0))


def requests_per_wave(problem: SearchProblem, observations: Sequence[Observation]) -> int | None:
    """How many requests belong into one wave where everyone waits for everyone: a rung, a generation; else None."""
    if problem.search.in_generations:
        return problem.search.population_size
    is_halving = _SCHEDULES.get(problem.search.pair[1]) is halving
    return rung_size(problem, observations) if is_halving else None


def stage_ends(search: SearchSpec) -> tuple[int, ...]:
    """The steps at which a trial may pause, the last one where its training ends; () where it is trained in one go."""
    pruner = search.pair[1]
    if search.in_generations:
        return generation_ends(search.perturbation_interval or 1, search.max_resource or 1)
    return levels_of(search) if pruner in _SCHEDULES else ()


def _to_the_end(problem: SearchProblem, observations: Sequence[Observation], n: int) -> Answer:
    """New trials alone, each trained to the end unless its worker stops it."""
    levels = levels_of(problem.search) if problem.search.pair[1] == "asha_stopping" else ()
    new = fresh(problem, observations, n, to_step=problem.search.max_resource, levels=levels)
    return Answer(new.requests, finished=new.finished)


def _auto(problem: SearchProblem, observations: Sequence[Observation], n: int) -> Answer:
    from hposlurm.search import auto  # scipy takes 0.2 s to import

    return auto.next_requests(problem, observations, n)


_SCHEDULES: Mapping[str, Schedule] = {
    "auto": _auto,
    "asha": asha,
    "successive_halving": halving,
    "hyperband": halving,
    "pbt": population,
}
