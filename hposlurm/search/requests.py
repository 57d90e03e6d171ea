"""The entry point of the search: decides what to do next, as a pure function of what is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hposlurm.search.asha import asha
from hposlurm.search.fresh import fresh
from hposlurm.search.halving import halving, rung_size
from hposlurm.search.observation import Answer, Observation, SearchProblem
from hposlurm.search.population import generation_ends, population
from hposlurm.search.rungs import levels_of

if TYPE_CHECKING:
    from hposlurm.spec import SearchSpec


@dataclass(frozen=True, slots=True)
class Schedule:
    """Decides how far trials are trained, for one pruner."""

    #: Returns requests, at most as many as its last argument.
    advance: Callable[[SearchProblem, Sequence[Observation], int], Answer]
    #: Returns the steps at which a trial may pause, the last one where its training ends; () if none pauses.
    stage_ends: Callable[[SearchSpec], tuple[int, ...]]
    #: Returns how many requests belong to one wave; None if trials do not wait for each other.
    per_wave: Callable[[SearchProblem, Sequence[Observation]], int | None] = lambda *_: None


def next_requests(problem: SearchProblem, observations: Sequence[Observation], n: int) -> Answer:
    """Returns up to `n` requests; the same arguments give the same answer in every process.

    `observations` are in the order of the trials' numbers. Open assignments are not requested again.
    Raises RequestError, SpaceError.
    """
    return _schedule(problem.search).advance(problem, observations, max(n, 0))


def requests_per_wave(problem: SearchProblem, observations: Sequence[Observation]) -> int | None:
    """Returns how many requests belong to one wave if its trials wait for each other (rung, generation), or None."""
    return _schedule(problem.search).per_wave(problem, observations)


def stage_ends(search: SearchSpec) -> tuple[int, ...]:
    """Returns the steps at which a trial may pause, and its last one; () if it is trained in one go."""
    return _schedule(search).stage_ends(search)


def _schedule(search: SearchSpec) -> Schedule:
    return SCHEDULES.get(search.pair[1], _IN_ONE_GO)


def _to_the_end(problem: SearchProblem, observations: Sequence[Observation], n: int) -> Answer:
    """Returns new trials only, each trained to the end unless its worker stops it."""
    levels = levels_of(problem.search) if problem.search.has_rungs else ()
    new = fresh(problem, observations, n, to_step=problem.search.max_resource, levels=levels)
    return Answer(new.requests, finished=new.finished)


def _auto(problem: SearchProblem, observations: Sequence[Observation], n: int) -> Answer:
    from hposlurm.search import auto  # scipy takes 0.2 s to import

    return auto.next_requests(problem, observations, n)


def _generation_ends(search: SearchSpec) -> tuple[int, ...]:
    return generation_ends(search.perturbation_interval or 1, search.max_resource or 1)


def _population_size(problem: SearchProblem, observations: Sequence[Observation]) -> int | None:  # noqa: ARG001
    return problem.search.population_size


#: The schedule of each pruner that decides itself how far a trial is trained; with all others it is trained in one go.
SCHEDULES: Mapping[str, Schedule] = {
    "auto": Schedule(_auto, levels_of),
    "asha": Schedule(asha, levels_of),
    "successive_halving": Schedule(halving, levels_of, rung_size),
    "hyperband": Schedule(halving, levels_of, rung_size),
    "pbt": Schedule(population, _generation_ends, _population_size),
}
_IN_ONE_GO = Schedule(_to_the_end, lambda _: ())
