"""The search as one pure function: history in, parameters out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import islice
from random import Random

from hposlurm.errors import RequestError
from hposlurm.search.grid import unseen_grid_points
from hposlurm.search.known import KnownPoint, KnownPoints
from hposlurm.search.moved import refuse_what_cmaes_cannot_do
from hposlurm.search.observation import Observation, Suggestion, violations
from hposlurm.search.points import identity
from hposlurm.search.proposals import Proposal, Propose, at_random, by_model, defaults_first, take
from hposlurm.search.queue import ORIGIN, enqueued
from hposlurm.search.seeds import derive_seed
from hposlurm.search.sobol import sobol_points
from hposlurm.search.unseen import UnseenPoints
from hposlurm.space import SearchSpace
from hposlurm.trial import Objective, Params, TrialState, is_finite

ALGORITHMS = ("grid", "random", "qmc", "tpe", "cmaes", "gp", "nsga2", "nsga3")
SOBOL_SKIPS = 1000  # points of the sequence that are old or not allowed; then a random one is taken


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
) -> tuple[Suggestion, ...]:
    """Returns up to `n` new configurations; the same arguments give the same answer in every process.

    `seed` is the *study's* seed for every wave: the wave's own seed is derived from it and from how many observations
    there are, and the order of a grid or a sequence must stay the same over waves. `startup_trials` is how many trials
    must have ended with a value before tpe or gp is used; until then they draw at random. `population_size` is that of
    cmaes (None: at least 4 + 3 ln d for d parameters, in whole first waves), nsga2 and nsga3 (None: 50).

    Fewer than `n`, possibly none, means that the space is exhausted: no trial's configuration is ever proposed again,
    whatever the trial's state, and no configuration breaks a constraint. (In a space that is infinite or has over
    20,000 allowed points it means that 50,000 draws found no new one.)
    What is in `enqueue` comes first, each entry once. Behind that, before anything else was proposed, come the default
    values. `prior` are trials of other studies: what is learnt from counts them in, and nothing else does.
    `points` is what is known of the space's points already.

    Raises RequestError for an algorithm that is unknown, cannot do this or lacks a package, SpaceError for a grid over
    a continuous parameter.
    """
    if algorithm not in ALGORITHMS:
        raise RequestError(f"search: {algorithm!r} is not one of {', '.join(ALGORITHMS)}")
    _refuse_what_cannot_be_done(space, algorithm, objectives)
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
    if algorithm == "grid":
        left = islice(unseen_grid_points(space, seed, seen), n)
        return (*first, *(Suggestion(point, {"origin": "grid"}) for point in left))
    unseen = UnseenPoints(space, Random(derive_seed(seed, "random", len(observations))), seen)
    if algorithm == "qmc":
        propose = _by_sobol(space, seed, observations, unseen)
    elif algorithm == "random":
        propose = at_random(unseen)
    else:
        learnt = [*prior, *observations]
        told = zip(learnt, (*map(points.of, (o.params for o in prior)), *known), strict=True)
        lessons = [(o, _judged(space, o, p)) for o, p in told if p.point is not None and _is_sound(o, objectives)]
        wave_seed = derive_seed(seed, algorithm, len(observations))
        asked = _Asked(space, algorithm, objectives, lessons, n, seed, wave_seed, startup_trials, population_size)
        propose = _by_model(asked, unseen)
    if all(o.attrs.get("origin") == ORIGIN for o in observations):
        propose = defaults_first(space, Random(derive_seed(seed, "default")), unseen, propose)
    return (*first, *(Suggestion(p.point, p.attrs) for p in take(propose, n, seen, identity)))


def _judged(space: SearchSpace, observation: Observation, point: KnownPoint) -> KnownPoint:
    """The point with the limits that its trial broke, which samplers learn as they do constraints."""
    if not space.limits.expressions or observation.values is None:
        return point
    broken = violations(observation, space.limits)
    return replace(point, violations=(*point.violations, *broken))


def _refuse_what_cannot_be_done(space: SearchSpace, algorithm: str, objectives: Sequence[Objective]) -> None:
    if algorithm == "cmaes":
        refuse_what_cmaes_cannot_do(space, len(objectives))
    if algorithm == "gp" and find_spec("torch") is None:
        raise RequestError(
            "search: gp needs PyTorch wherever waves are planned, on the login node as in jobs; "
            "install torch there, or use tpe"
        )


def _by_sobol(space: SearchSpace, seed: int, observations: Sequence[Observation], unseen: UnseenPoints) -> Propose:
    """The next points of the study's sequence; where those are old or not allowed for long, random ones."""
    indices = [index for o in observations if isinstance(index := o.attrs.get("sobol"), int)]
    points = sobol_points(space, seed, max(indices, default=-1) + 1)
    otherwise = at_random(unseen)

    def propose() -> Proposal | None:
        for index, point in islice(points, SOBOL_SKIPS):
            if unseen.accepts(point):
                return Proposal(point, {"origin": "qmc", "sobol": index})
        return otherwise()

    return propose


@dataclass(frozen=True, slots=True)
class _Asked:
    space: SearchSpace
    algorithm: str
    objectives: Sequence[Objective]
    lessons: Sequence[tuple[Observation, KnownPoint]]
    n: int
    seed: int
    wave_seed: int
    startup_trials: int
    population_size: int | None


def _by_model(asked: _Asked, unseen: UnseenPoints) -> Propose:
    """What the model of that name proposes. Each is imported where it is used: all others do without its packages."""
    space, objectives, seed = asked.space, asked.objectives, asked.wave_seed
    if asked.algorithm == "cmaes":
        from hposlurm.search.cma import CmaStudy

        cma = CmaStudy(space, objectives, seed, asked.population_size, asked.n)
        cma.tell(asked.lessons)
        return by_model(cma, cma.attrs, unseen)
    if asked.algorithm in ("nsga2", "nsga3"):
        from hposlurm.search.genetic import GeneticStudy

        herd = GeneticStudy(space, objectives, asked.algorithm, asked.seed, seed, asked.population_size, asked.n)
        herd.tell(asked.lessons)
        return by_model(herd, herd.attrs, unseen)
    if sum(_teaches(asked.algorithm, o) for o, _ in asked.lessons) < asked.startup_trials:
        return at_random(unseen)
    if asked.algorithm == "gp":
        from hposlurm.search.gaussian import ASKS, REJECTIONS, GpStudy

        process = GpStudy(space, objectives, seed, asked.startup_trials)
        process.tell(asked.lessons)
        return by_model(process, {"origin": "gp"}, unseen, ASKS, REJECTIONS)
    from hposlurm.search.tpe import TpeStudy  # Optuna takes 0.2 s to import

    tpe = TpeStudy(space, objectives, seed, asked.startup_trials)
    tpe.tell(asked.lessons)
    return by_model(tpe, {"origin": "tpe"}, unseen)


def _teaches(algorithm: str, observation: Observation) -> bool:
    """Whether the model that is asked for may begin once there are enough such trials."""
    if algorithm == "gp":
        return observation.state is TrialState.COMPLETE
    return observation.state in (TrialState.COMPLETE, TrialState.PRUNED) or observation.infeasible


def _is_sound(observation: Observation, objectives: Sequence[Objective]) -> bool:
    """Whether the observation has the values that its state promises for these objectives."""
    values = observation.values
    if observation.state is TrialState.COMPLETE and values is None:
        return False
    if observation.state not in (TrialState.COMPLETE, TrialState.PRUNED) or values is None:
        return True
    return len(values) == len(objectives) and all(map(is_finite, values))
