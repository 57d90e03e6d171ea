"""Suggests new configurations: a pure function of the history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from random import Random

from hposlurm.errors import RequestError
from hposlurm.search.known import KnownPoint, KnownPoints
from hposlurm.search.observation import Observation, Proposal, violations
from hposlurm.search.points import identity
from hposlurm.search.proposals import Propose, at_random, by_sampler, defaults_first, take
from hposlurm.search.queue import ORIGIN, enqueued
from hposlurm.search.sampler import BUILDERS, Asked, refuse_what_cannot_be_done
from hposlurm.search.seeds import derive_seed
from hposlurm.search.unseen import UnseenPoints
from hposlurm.space import SearchSpace
from hposlurm.spec.algorithms import SAMPLERS, SamplerTraits
from hposlurm.trial import Objective, Params, TrialState, is_finite

Lesson = tuple[Observation, KnownPoint]


def suggest(
    space: SearchSpace,
    algorithm: str,
    objectives: Sequence[Objective],
    observations: Sequence[Observation],
    n: int,
    seed: int,
    startup_trials: int,
    population_size: int | None = None,
    *,
    enqueue: Sequence[Params] = (),
    prior: Sequence[Observation] = (),
    points: KnownPoints | None = None,
) -> tuple[Proposal, ...]:
    """Returns up to `n` new configurations; the same arguments give the same answer in every process.

    `seed` is the *study's* seed in every wave: the wave's seed is derived from it and the number of observations, and
    the order of a grid or a sequence stays the same over waves. `startup_trials` is how many trials must have ended
    with a value before tpe or gp is used; until then points are random. `population_size` is that of cmaes (None: at
    least 4 + 3 ln d for d parameters, in whole first waves), nsga2 and nsga3 (None: 50).

    Fewer than `n`, possibly none, means that the space is exhausted: no trial's configuration is ever proposed again,
    whatever the trial's state, and no configuration breaks a constraint. (In a space that is infinite or has over
    20,000 allowed points it means that 50,000 draws found no new one.)
    The entries of `enqueue` come first, each once. After those come the default values, before anything else is
    proposed. `prior` are trials of other studies: samplers learn from them, nothing else counts them. `points` caches
    what is known of the space's points.

    Raises RequestError for an algorithm that is unknown, cannot search this space or lacks a package, and SpaceError
    for a grid over a continuous parameter.
    """
    if algorithm not in BUILDERS:
        raise RequestError(f"search: {algorithm!r} is not one of {', '.join(BUILDERS)}")
    traits = SAMPLERS[algorithm]
    refuse_what_cannot_be_done(traits, space, len(objectives))
    if n <= 0:
        return ()
    first = tuple(islice(enqueued(space, enqueue, observations, seed), n))
    waiting = [Observation(-1 - i, s.params, TrialState.WAITING, attrs=s.attrs) for i, s in enumerate(first)]
    observations, n = [*observations, *waiting], n - len(first)
    if n <= 0:
        return first
    points = points or KnownPoints(space)
    known = [points.of(o.params) for o in observations]
    seen = {point.identity for point in known}
    unseen = UnseenPoints(space, Random(derive_seed(seed, "random", len(observations))), seen)
    lessons: list[Lesson] = []
    if not traits.is_blind:
        learnt = zip([*prior, *observations], (*map(points.of, (o.params for o in prior)), *known), strict=True)
        lessons = [(o, _judged(space, o, p)) for o, p in learnt if p.point is not None and _is_sound(o, objectives)]
    wave_seed = derive_seed(seed, algorithm, len(observations))
    asked = Asked(
        algorithm, space, objectives, observations, n, seed, wave_seed, startup_trials, population_size, unseen
    )
    propose = _by_name(traits, asked, lessons)
    if not traits.lists_all and all(o.attrs.get("origin") == ORIGIN for o in observations):
        propose = defaults_first(space, Random(derive_seed(seed, "default")), unseen, propose)
    return (*first, *take(propose, n, seen, identity))


def _judged(space: SearchSpace, observation: Observation, point: KnownPoint) -> KnownPoint:
    """Returns the point with the limits that its trial broke; samplers learn them like constraints."""
    if not space.limits.expressions or observation.values is None:
        return point
    broken = violations(observation, space.limits)
    return replace(point, violations=(*point.violations, *broken))


def _by_name(traits: SamplerTraits, asked: Asked, lessons: Sequence[Lesson]) -> Propose:
    """Returns a function that proposes by the sampler that is asked for, or at random if too little is known."""
    if traits.has_startup and sum(_teaches(traits, o) for o, _ in lessons) < asked.startup_trials:
        return at_random(asked.unseen)
    sampler = BUILDERS[asked.name](asked)
    sampler.tell(lessons)
    return by_sampler(sampler, asked.name, asked.unseen)


def _teaches(traits: SamplerTraits, observation: Observation) -> bool:
    """True if the trial counts among those that the sampler needs to begin."""
    if traits.completed_only:
        return observation.state is TrialState.COMPLETE
    return observation.state in (TrialState.COMPLETE, TrialState.PRUNED) or observation.infeasible


def _is_sound(observation: Observation, objectives: Sequence[Objective]) -> bool:
    """True if the observation has the values that its state requires for these objectives."""
    values = observation.values
    if observation.state is TrialState.COMPLETE and values is None:
        return False
    if observation.state not in (TrialState.COMPLETE, TrialState.PRUNED) or values is None:
        return True
    return len(values) == len(objectives) and all(map(is_finite, values))
