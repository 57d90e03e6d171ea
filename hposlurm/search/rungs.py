"""Rungs: how far trials are trained before they are compared, and which are promoted. Pure, standard library only.

A rung is a step of the training. All trials that reached it are ranked; the best 1/reduction_factor are promoted to the
next one. Everything here depends only on the records and takes n log n steps for n trials.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hposlurm.pruning import StopRule
from hposlurm.pruning.scoring import Score
from hposlurm.search.observation import Observation, SearchProblem, complaints, violations
from hposlurm.space.metric_constraints import NO_LIMITS, Limits
from hposlurm.spec.algorithms import PRUNERS
from hposlurm.trial import Objective, TrialState

if TYPE_CHECKING:
    from hposlurm.spec import SearchSpec

# A rung within this factor of the last one would stop trials too late.
_NEAREST = 1.5
# Without `min_resource`, auto's last rung is about this many times its lowest one: three promotions of one in three.
# Not tuned.
_AUTO_SPAN = 27


@dataclass(frozen=True, slots=True)
class Standing:
    """One trial in a rung."""

    number: int
    #: less is better; infinite if the trial failed before it got there
    score: float
    #: by how much it breaks limits on its metrics as far as they are known now, 0 if none; ranked before the score
    broken: float = 0.0

    @property
    def place(self) -> tuple[float, float, int]:
        """The sort key of trials in a rung; ties by number."""
        return self.broken, self.score, self.number


def rung_levels(min_resource: int, max_resource: int, reduction_factor: int) -> tuple[int, ...]:
    """Returns the steps at which trials are compared, ascending; the last one is `max_resource`.

    The others are min_resource · reduction_factor^k below 2/3 of the end.
    """
    levels: list[int] = []
    level = min_resource
    while _NEAREST * level < max_resource:
        levels.append(level)
        level *= reduction_factor
    return (*levels, max_resource)


def levels_of(search: SearchSpec) -> tuple[int, ...]:
    """Returns the rungs of a search; the last one is the end of training; () without a `max_resource`."""
    if search.max_resource is None:
        return ()
    lowest = math.ceil(search.max_resource / _AUTO_SPAN) if search.pruner_traits.rungs == "with max_resource" else 1
    return rung_levels(search.min_resource or lowest, search.max_resource, search.reduction_factor)


def value_at(observation: Observation, level: int) -> tuple[float, ...] | None:
    """Returns the trial's values at a rung, one per objective as reported; None if it did not reach it.

    They are the last values of an assignment that ended at the rung, else those of the first report at or after it.
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
    """True if the trial was ever assigned to train to the rung, whether it reached it or not."""
    return observation.to_step is None or observation.to_step >= level


def broken_by(observation: Observation, limits: Limits) -> float:
    """Returns by how much the trial breaks limits on its metrics; 0 if it keeps them all, which ranks first."""
    return sum(violations(observation, limits)) if limits.expressions else 0.0


def standings(
    observations: Iterable[Observation], levels: Sequence[int], score: Score, limits: Limits = NO_LIMITS
) -> tuple[tuple[Standing, ...], ...]:
    """Returns for each rung the trials that reached it, best first, ties by number.

    Trials that break `limits` rank below all that keep them. A trial that failed, for whatever reason, counts as the
    worst in the first rung that it did not reach.
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
    """Returns how many of a rung's trials are promoted."""
    return size // reduction_factor


@dataclass(frozen=True, slots=True)
class Placing:
    """The place of a trial in a rung when it was decided which are promoted.

    Values are as reported, one per objective.
    """

    #: the step of the rung
    level: int
    #: counted from 1
    place: int
    #: how many trials are in the rung
    size: int
    #: how many of them are promoted
    goers: int
    #: None if the trial failed
    values: tuple[float, ...] | None
    #: the values of the last promoted trial; None if there is none or it breaks a limit
    threshold: tuple[float, ...] | None
    #: what the trial is ranked by, less is better
    score: float = 0.0
    #: the score of the last promoted trial
    limit: float = 0.0
    #: the limits on metrics that the trial breaks, as text
    broken: tuple[str, ...] = ()

    @property
    def goes_on(self) -> bool:
        return self.values is not None and self.place <= self.goers

    def text(self, objectives: Sequence[Objective], compare_by: str = "first", *, is_decided: bool = True) -> str:
        """Returns the decision as a sentence, or the present state if it is not made yet."""
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


def placing_text(placing: Placing, problem: SearchProblem, observation: Observation, *, is_decided: bool = True) -> str:
    """Returns the placing of an observation's trial as a sentence, with the limits that it breaks."""
    broken = complaints(observation, problem.space.limits)
    return replace(placing, broken=broken).text(problem.objectives, problem.search.compare_by, is_decided=is_decided)


def placings(
    rung: Sequence[Standing], level: int, goers: int, values: Callable[[int], tuple[float, ...] | None]
) -> dict[int, Placing]:
    """Returns the placing of each trial in a rung that promotes the best `goers`, by number."""
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
    """Returns the score of several objectives as text; "" if only the first one counts."""
    if len(objectives) == 1 or compare_by == "first":
        return ""
    return f"weighted sum {score:.6g}" if compare_by == "weighted" else f"layer {int(score) + 1} of domination"


def stop_rule(search: SearchSpec, objectives: Sequence[Objective]) -> StopRule | None:
    """Returns the rule for a wave's plan; None if no trial is stopped before its assignment ends."""
    if search.stop_by is None:
        return None
    rule = PRUNERS[search.stop_by]
    return StopRule(
        name=rule.name,
        objectives=tuple(objectives),
        compare_by=search.compare_by,
        levels=levels_of(search)[:-1] if rule.rungs == "always" else (),
        reduction_factor=search.reduction_factor,
        percentile=search.percentile or rule.percentile,
        warmup_steps=search.warmup_steps,
        warmup_trials=search.warmup_trials or 5,
        lower=search.lower,
        upper=search.upper,
        p_value=search.p_value or 0.1,
        patience=search.patience,
    )
