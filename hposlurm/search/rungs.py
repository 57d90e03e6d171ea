"""Rungs: how far trials are trained before they are compared, and who goes on. Pure, standard library only.

A rung is a step of the training. Whoever got there is ranked among all that did; the best 1/reduction_factor go on to
the next one. Everything here is a function of the records alone and takes n log n steps for n trials.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hposlurm.pruning.scoring import Score
from hposlurm.search.observation import Observation, SearchProblem, complaints, violations
from hposlurm.space.metric_constraints import NO_LIMITS, Limits
from hposlurm.trial import Objective, TrialState

if TYPE_CHECKING:
    from hposlurm.spec import SearchSpec

# A rung this close below the last one would stop nobody in time.
_NEAREST = 1.5
# Where auto is given no `min_resource`, its end is about this many times as far as its lowest rung: three promotions of
# one in three. Not tuned.
_AUTO_SPAN = 27


@dataclass(frozen=True, slots=True)
class Standing:
    """One trial in a rung. `score` is what it is ranked by: less is better, infinite where it failed before.

    `broken` comes first: 0 where the trial keeps all limits on its metrics as far as they are known by now.
    """

    number: int
    score: float
    broken: float = 0.0

    @property
    def place(self) -> tuple[float, float, int]:
        """By what trials are ordered; ties by number."""
        return self.broken, self.score, self.number


def rung_levels(min_resource: int, max_resource: int, reduction_factor: int) -> tuple[int, ...]:
    """The steps at which trials are compared, ascending; the last one is `max_resource`.

    Those below are min_resource · reduction_factor^k; one that comes to within 2/3 of the end is left out.
    """
    levels: list[int] = []
    level = min_resource
    while _NEAREST * level < max_resource:
        levels.append(level)
        level *= reduction_factor
    return (*levels, max_resource)


def levels_of(search: SearchSpec) -> tuple[int, ...]:
    """Returns the rungs of a search, the last one where training ends; () without a `max_resource`."""
    if search.max_resource is None:
        return ()
    lowest = math.ceil(search.max_resource / _AUTO_SPAN) if search.pruner_traits.rungs == "with max_resource" else 1
    return rung_levels(search.min_resource or lowest, search.max_resource, search.reduction_factor)


def value_at(observation: Observation, level: int) -> tuple[float, ...] | None:
    """The trial's values at a rung, one per objective as reported; None if it did not get there.

    They are the last ones of an assignment that ended at the rung, else those of the first report at it or beyond.
    """
    for end, values in observation.ends:
        if end == level:
            return values
    curve = observation.curve
    position = bisect_left(curve, level, key=lambda point: point[0])
    if position < len(curve):
        return curve[position][1]
    has_ended = observation.state in (TrialState.PAUSED, TrialState.COMPLETE)
    return observation.values if has_ended and observation.to_step == level else None


def is_sent_to(observation: Observation, level: int) -> bool:
    """Whether the trial was ever sent on to the rung, whatever became of it."""
    return observation.to_step is None or observation.to_step >= level


def broken_by(observation: Observation, limits: Limits) -> float:
    """By how much the trial breaks limits on its metrics, 0 where it keeps them all. A trial that does comes first."""
    return sum(violations(observation, limits)) if limits.expressions else 0.0


def standings(
    observations: Iterable[Observation], levels: Sequence[int], score: Score, limits: Limits = NO_LIMITS
) -> tuple[tuple[Standing, ...], ...]:
    """For each rung everyone who got there, best first, ties by number; who breaks `limits` behind all who keep them.

    A trial that failed, for whatever reason, counts as the worst in the first rung that it did not reach.
    """
    numbers: list[list[tuple[int, float]]] = [[] for _ in levels]
    values: list[list[tuple[float, ...]]] = [[] for _ in levels]
    failed: list[list[Standing]] = [[] for _ in levels]
    for observation in observations:
        broken = broken_by(observation, limits)
        for k, level in enumerate(levels):
            found = value_at(observation, level)
            if found is None:
                if observation.state is TrialState.FAIL:
                    failed[k].append(Standing(observation.number, math.inf, math.inf))
                break
            numbers[k].append((observation.number, broken))
            values[k].append(found)
    rungs: list[tuple[Standing, ...]] = []
    for here, known, lost in zip(numbers, values, failed, strict=True):
        reached = (Standing(number, mine, broken) for (number, broken), mine in zip(here, score(known), strict=True))
        rungs.append(tuple(sorted((*reached, *lost), key=lambda s: s.place)))
    return tuple(rungs)


def quota(size: int, reduction_factor: int) -> int:
    """How many of a rung's trials go on."""
    return size // reduction_factor


@dataclass(frozen=True, slots=True)
class Placing:
    """Where a trial stood in a rung when it was decided who goes on. Values are as reported, one per objective.

    `threshold` are the values of the last one that goes on, None if nobody does or it breaks a limit; `values` is None
    if it failed. `score` and `limit` are what the two are ranked by, less is better; `broken` says what limits on
    metrics it breaks.
    """

    level: int
    place: int
    size: int
    goers: int
    values: tuple[float, ...] | None
    threshold: tuple[float, ...] | None
    score: float = 0.0
    limit: float = 0.0
    broken: tuple[str, ...] = ()

    @property
    def goes_on(self) -> bool:
        return self.values is not None and self.place <= self.goers

    def text(self, objectives: Sequence[Objective], compare_by: str = "first", *, is_decided: bool = True) -> str:
        """The decision in words, or how it stands before it is made."""
        mine = "failed" if self.values is None else _named(self.values, objectives)
        if self.values is not None and (how := _score_text(self.score, objectives, compare_by)):
            mine += f", {how}"
        mine += "".join(f", breaks {limit}" for limit in self.broken)
        goers = (
            f"none goes on{'' if is_decided else ' so far'}"
            if not self.goers
            else "the best goes on"
            if self.goers == 1
            else f"the best {self.goers} go on"
        )
        limit = self._limit(objectives, compare_by)
        return f"rung {self.level}: {mine}, place {self.place} of {self.size}, {goers}{limit}"

    def _limit(self, objectives: Sequence[Objective], compare_by: str) -> str:
        if self.threshold is None:
            return ""
        return f" (threshold {_score_text(self.limit, objectives, compare_by) or f'{self.threshold[0]:.6g}'})"


def told(placing: Placing, problem: SearchProblem, observation: Observation, *, is_decided: bool = True) -> str:
    """Where the trial of an observation stood, in words, with the limits that it breaks."""
    broken = complaints(observation, problem.space.limits)
    return replace(placing, broken=broken).text(problem.objectives, problem.search.compare_by, is_decided=is_decided)


def placings(
    rung: Sequence[Standing], level: int, goers: int, values: Callable[[int], tuple[float, ...] | None]
) -> dict[int, Placing]:
    """By number, where each stands in a rung from which the best `goers` go on."""
    last = rung[min(goers, len(rung)) - 1] if goers and rung else None
    is_limit = last is not None and last.score < math.inf and not last.broken
    threshold, limit = (values(last.number), last.score) if last is not None and is_limit else (None, 0.0)

    def placing(place: int, s: Standing) -> Placing:
        mine = values(s.number) if s.score < math.inf else None
        return Placing(level, place, len(rung), goers, mine, threshold, s.score, limit)

    return {s.number: placing(place, s) for place, s in enumerate(rung, 1)}


def _named(values: Sequence[float], objectives: Sequence[Objective]) -> str:
    return ", ".join(f"{o.metric} {v:.6g}" for o, v in zip(objectives, values, strict=True))


def _score_text(score: float, objectives: Sequence[Objective], compare_by: str) -> str:
    """What several objectives were made into to compare them; "" where the first one alone counts."""
    if len(objectives) == 1 or compare_by == "first":
        return ""
    return f"weighted sum {score:.6g}" if compare_by == "weighted" else f"layer {int(score) + 1} of domination"
