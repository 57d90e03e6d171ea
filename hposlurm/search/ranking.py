"""Keeps the rungs of a search, and the trials that wait there, sorted from call to call.

A history that grew differs from the last one in few trials, and an observation never changes: only new ones are read.
The result is the same as that of a new ranking.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from itertools import chain, compress, count, repeat
from operator import is_not

from hposlurm.pruning.scoring import scoring
from hposlurm.search.observation import Observation, SearchProblem
from hposlurm.search.rungs import Placing, broken_by, is_sent_to, value_at
from hposlurm.space.metric_constraints import NO_LIMITS, Limits
from hposlurm.trial import Objective, TrialState

# By how much the trial breaks limits, its score (less is better; both are infinite if it failed), its number
Place = tuple[float, float, int]
Values = tuple[float, ...]

_NEW_SHARE = 0.1  # if a larger share is new, sorting everything is faster


class Ranking:
    """Ranks the trials in each rung, best first, ties by number.

    `rungs` has all trials that reached each rung or failed on the way, `waiting` the trials that are paused there,
    `sent` the number of promoted ones. A failed trial counts as the worst in the first rung that it did not reach.
    """

    def __init__(
        self, levels: Sequence[int], objectives: Sequence[Objective], compare_by: str, limits: Limits = NO_LIMITS
    ) -> None:
        self.asked = tuple(levels), tuple(objectives), compare_by, limits
        self.levels = tuple(levels)
        self.limits = limits
        self._score = scoring(objectives, compare_by)
        self._is_relative = compare_by == "domination"  # each score depends on all trials
        self._begin()

    def _begin(self) -> None:
        self.rungs: list[list[Place]] = [[] for _ in self.levels]
        self.waiting: list[list[Place]] = [[] for _ in self.levels]
        self.sent = [0 for _ in self.levels]
        self._seen: list[Observation] = []

    def update(self, observations: Sequence[Observation]) -> None:
        """Adds what is new; `observations` are in the order of their numbers."""
        seen, old = self._seen, len(self._seen)
        changed = list(compress(count(), map(is_not, seen, observations)))
        news = len(changed) + abs(len(observations) - old)
        if self._is_relative or len(observations) < old or news > _NEW_SHARE * old:
            self._begin()
            self._build(observations)
        else:
            for index in changed:
                self._take_out(seen[index])
                self._put_in(observations[index])
            for observation in observations[old:]:
                self._put_in(observation)
        self._seen = list(observations)

    def _build(self, observations: Sequence[Observation]) -> None:
        values: list[list[Values]] = [[] for _ in self.levels]
        whose: list[list[Observation]] = [[] for _ in self.levels]
        failed: list[list[Observation]] = [[] for _ in self.levels]
        for observation in observations:
            reached = self._reached(observation)
            for k, here in enumerate(reached):
                values[k].append(here)
                whose[k].append(observation)
            if observation.state is TrialState.FAIL and len(reached) < len(self.levels):
                failed[len(reached)].append(observation)
        for k, rung in enumerate(self.rungs):
            known = zip(self._score(values[k]), whose[k], strict=True)
            for score, observation in chain(known, zip(repeat(math.inf), failed[k], strict=False)):
                place = self._place(observation, score)
                rung.append(place)
                if self._was_sent(observation, k):
                    self.sent[k] += 1
                elif _waits(observation):
                    self.waiting[k].append(place)
        for places in (*self.rungs, *self.waiting):
            places.sort()

    def _put_in(self, observation: Observation) -> None:
        for k, place in enumerate(self._places(observation)):
            insort(self.rungs[k], place)
            if self._was_sent(observation, k):
                self.sent[k] += 1
            elif _waits(observation):
                insort(self.waiting[k], place)

    def _take_out(self, observation: Observation) -> None:
        for k, place in enumerate(self._places(observation)):
            del self.rungs[k][bisect_left(self.rungs[k], place)]
            if self._was_sent(observation, k):
                self.sent[k] -= 1
            elif _waits(observation):
                del self.waiting[k][bisect_left(self.waiting[k], place)]

    def _places(self, observation: Observation) -> list[Place]:
        """Returns the places of one trial, from the lowest rung up."""
        reached = self._reached(observation)
        places = [self._place(observation, score) for values in reached for score in self._score([values])]
        if observation.state is TrialState.FAIL and len(places) < len(self.levels):
            places.append(self._place(observation, math.inf))
        return places

    def _place(self, observation: Observation, score: float) -> Place:
        broken = broken_by(observation, self.limits) if score < math.inf else math.inf
        return broken, score, observation.number

    def _reached(self, observation: Observation) -> list[Values]:
        """Returns the values at each rung that the trial reached."""
        found: list[Values] = []
        for level in self.levels:
            values = value_at(observation, level)
            if values is None:
                break
            found.append(values)
        return found

    def _was_sent(self, observation: Observation, k: int) -> bool:
        """True if there is nothing left to decide about the trial at rung `k`."""
        return k + 1 == len(self.levels) or is_sent_to(observation, self.levels[k + 1])

    def placing(self, k: int, place: Place, goers: int, values: Callable[[int], Values | None]) -> Placing:
        """Returns the placing of a trial in rung `k`, which promotes the best `goers`.

        `values` maps numbers to values.
        """
        rung = self.rungs[k]
        last = rung[min(goers, len(rung)) - 1] if goers else None
        is_limit = last is not None and last[1] < math.inf and not last[0]
        threshold, limit = (values(last[2]), last[1]) if last is not None and is_limit else (None, 0.0)
        where = bisect_left(rung, place) + 1
        return Placing(self.levels[k], where, len(rung), goers, values(place[2]), threshold, place[1], limit)


def _waits(observation: Observation) -> bool:
    return observation.state is TrialState.PAUSED and not observation.is_open


def ranking(problem: SearchProblem, levels: Sequence[int], observations: Sequence[Observation]) -> Ranking:
    """Updates the ranking in the problem's memory and returns it."""
    memory, asked = problem.memory, (tuple(levels), problem.objectives, problem.search.compare_by, problem.space.limits)
    if memory.ranking is None or memory.ranking.asked != asked:
        memory.ranking = Ranking(*asked)
    memory.ranking.update(observations)
    return memory.ranking
