"""Asynchronous successive halving by promotion (Li et al. 2018): a trial waits at its rung until it is among the best.

Nobody waits for anybody: whenever there is room, the highest rung with somebody to promote is served first; a new trial
starts at the lowest one if there is nobody.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from hposlurm.scoring import scoring
from hposlurm.search.fresh import fresh
from hposlurm.search.observation import Answer, Job, Observation, Problem
from hposlurm.search.rungs import (
    Standing,
    is_sent_to,
    levels_of,
    placings,
    promotable,
    quota,
    standings,
    value_at,
)
from hposlurm.trial import TrialState


def asha(problem: Problem, observations: Sequence[Observation], n: int) -> Answer:
    """Up to `n` jobs: promotions first, then new trials at the lowest rung.

    Once no new trial may come and none is under way, every rung that has sent nobody on sends its best one, so that
    a small study has a trial that was trained to the end.
    """
    levels = levels_of(problem.search)
    by_number = {o.number: o for o in observations}
    rungs = standings(observations, levels, scoring(problem.objectives, problem.search.compare_by))
    ladder = _Ladder(problem, levels, rungs, by_number)
    jobs: list[Job] = []
    for job in ladder.promotions():
        if len(jobs) == n:
            return Answer(tuple(jobs))
        jobs.append(job)
    new = fresh(problem, observations, n - len(jobs), to_step=levels[0], is_final=len(levels) == 1, levels=levels)
    if not jobs and not new.jobs and n > 0 and not any(o.is_open for o in observations):
        return Answer(tuple(ladder.last_promotions())[:n], finished=new.finished)
    return Answer((*jobs, *new.jobs), finished=new.finished)


class _Ladder:
    """The rungs at one moment."""

    def __init__(
        self,
        problem: Problem,
        levels: Sequence[int],
        rungs: Sequence[Sequence[Standing]],
        by_number: Mapping[int, Observation],
    ) -> None:
        self._problem = problem
        self._levels = levels
        self._rungs = rungs
        self._by_number = by_number

    def promotions(self) -> Iterator[Job]:
        """Everyone who may go on now, from the highest rung down, best first."""
        factor = self._problem.search.reduction_factor
        for k in range(len(self._levels) - 2, -1, -1):
            gone = {s.number for s in self._rungs[k] if self._is_gone(k, s.number)}
            best = promotable(self._rungs[k], factor, gone.__contains__)
            yield from self._sent(k, best, quota(len(self._rungs[k]), factor))

    def last_promotions(self) -> Iterator[Job]:
        """The best one of each rung that has sent nobody on, the highest rung first."""
        for k in range(len(self._levels) - 2, -1, -1):
            if not any(self._is_gone(k, s.number) for s in self._rungs[k]):
                waiting = [s.number for s in self._rungs[k] if self._waits(s.number)]
                yield from self._sent(k, waiting[:1], 1)

    def _is_gone(self, k: int, number: int) -> bool:
        return is_sent_to(self._by_number[number], self._levels[k + 1])

    def _waits(self, number: int) -> bool:
        observation = self._by_number[number]
        return observation.state is TrialState.PAUSED and not observation.is_open

    def _sent(self, k: int, numbers: Sequence[int], goers: int) -> Iterator[Job]:
        numbers = [number for number in numbers if self._waits(number)]
        if not numbers:
            return
        level = self._levels[k]
        places = placings(self._rungs[k], level, goers, lambda number: value_at(self._by_number[number], level))
        for number in numbers:
            observation = self._by_number[number]
            yield Job(
                observation.params,
                trial=number,
                from_step=observation.to_step or level,
                to_step=self._levels[k + 1],
                is_final=k + 2 == len(self._levels),
                why=places[number].text(self._problem.objectives),
            )
