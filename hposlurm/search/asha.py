"""Asynchronous successive halving by promotion (Li et al. 2018): a trial waits at its rung until it is among the best.

Rungs do not wait for trials: whenever there is room, the highest rung with a trial to promote comes first; if there is
none, a new trial starts at the lowest rung. A promoted trial still counts in the rungs that it left: otherwise nearly
all trials would be promoted in the end.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import islice
from operator import attrgetter

from hposlurm.search.fresh import fresh
from hposlurm.search.observation import Answer, Observation, SearchProblem, TrainingRequest
from hposlurm.search.ranking import Place, Ranking, ranking
from hposlurm.search.rungs import levels_of, placing_text, quota, value_at


def asha(problem: SearchProblem, observations: Sequence[Observation], n: int) -> Answer:
    """Returns up to `n` requests: promotions first, then new trials at the lowest rung.

    Once no new trial may come and none is running, each rung without a promotion promotes its best trial, so that a
    small study has a trial that was trained to the end.
    """
    levels = levels_of(problem.search)
    ranked = ranking(problem, levels, observations)
    ladder = _Ladder(problem, ranked, observations)
    requests = list(islice(ladder.promotions(), n))
    if len(requests) == n:
        return Answer(tuple(requests))
    new = fresh(problem, observations, n - len(requests), to_step=levels[0], is_final=len(levels) == 1, levels=levels)
    if not requests and not new.requests and not any(o.is_open for o in observations):
        return Answer(tuple(ladder.last_promotions())[:n], finished=new.finished)
    return Answer((*requests, *new.requests), finished=new.finished)


class _Ladder:
    """The rungs at one moment."""

    def __init__(self, problem: SearchProblem, ranked: Ranking, observations: Sequence[Observation]) -> None:
        self._problem = problem
        self._ranked = ranked
        self._observations = observations

    def promotions(self) -> Iterator[TrainingRequest]:
        """Yields the trials that may be promoted now, from the highest rung down, best first."""
        factor = self._problem.search.reduction_factor
        for k in range(len(self._ranked.levels) - 2, -1, -1):
            rung = self._ranked.rungs[k]
            goers = quota(len(rung), factor)
            for place in self._ranked.waiting[k]:
                if bisect_left(rung, place) >= goers:
                    break
                yield self._sent(k, place, goers)

    def last_promotions(self) -> Iterator[TrainingRequest]:
        """Yields the best trial of each rung without a promotion, the highest rung first."""
        for k in range(len(self._ranked.levels) - 2, -1, -1):
            if not self._ranked.sent[k]:
                yield from (self._sent(k, place, 1) for place in self._ranked.waiting[k][:1])

    def _sent(self, k: int, place: Place, goers: int) -> TrainingRequest:
        level, observation = self._ranked.levels[k], self._of(place[2])
        placing = self._ranked.placing(k, place, goers, lambda number: value_at(self._of(number), level))
        return TrainingRequest(
            observation.params,
            trial=observation.number,
            from_step=observation.to_step or level,
            to_step=self._ranked.levels[k + 1],
            is_final=k + 2 == len(self._ranked.levels),
            why=placing_text(placing, self._problem, observation),
        )

    def _of(self, number: int) -> Observation:
        return self._observations[bisect_left(self._observations, number, key=attrgetter("number"))]
