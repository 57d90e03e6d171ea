"""The search as one pure function: history in, parameters out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import islice
from random import Random

from hposlurm.errors import RequestError
from hposlurm.search.grid import unseen_grid_points
from hposlurm.search.observation import Observation, Suggestion
from hposlurm.search.points import Identity, Point, canonical, draw_point, given_defaults, identity, project
from hposlurm.search.seeds import derive_seed
from hposlurm.search.unseen import UnseenPoints
from hposlurm.space import SearchSpace
from hposlurm.trial import Objective, TrialState

DEFAULT_DRAWS = 1000  # for the parameters without a default, until the constraints hold
ASKS = 50  # of TPE for one point; then a random one is taken (0.1 s each after 10,000 trials)
REJECTIONS = 400  # of TPE's points in one call; then all are random
ALGORITHMS = ("grid", "random", "tpe")

Proposal = tuple[Point, str]


def suggest(
    space: SearchSpace,
    algorithm: str,
    objectives: Sequence[Objective],
    observations: Sequence[Observation],
    n: int,
    seed: int,
    startup_trials: int,
) -> tuple[Suggestion, ...]:
    """Returns up to `n` new configurations; the same arguments give the same answer in every process.

    `seed` is the *study's* seed for every wave: the wave's own seed is derived from it and from how many observations
    there are, and the order of a grid must stay the same over waves. `startup_trials` is how many trials must have
    ended with a value before TPE is used; until then it draws at random.

    Fewer than `n`, possibly none, means that the space is exhausted: no trial's configuration is ever proposed again,
    whatever the trial's state, and no configuration breaks a constraint. (In a space that is infinite or has over
    20,000 allowed points it means that 50,000 draws found no new one.)
    Without observations the first suggestion has the default values.

    Raises RequestError for an unknown algorithm, SpaceError for a grid over a continuous parameter.
    """
    if algorithm not in ALGORITHMS:
        raise RequestError(f"search.algorithm: {algorithm!r} is not one of {', '.join(ALGORITHMS)}")
    if n <= 0:
        return ()
    seen = {identity(canonical(space, o.params)) for o in observations}
    if algorithm == "grid":
        return tuple(_suggestion(p, "grid") for p in islice(unseen_grid_points(space, seed, seen), n))
    unseen = UnseenPoints(space, Random(derive_seed(seed, "random", len(observations))), seen)
    propose = _random(unseen)
    if algorithm == "tpe":
        propose = _tpe(space, objectives, observations, seed, startup_trials, unseen) or propose
    if not observations:
        propose = _defaults_first(space, Random(derive_seed(seed, "default")), unseen, propose)
    return tuple(_take(propose, n, seen))


def _take(propose: Callable[[], Proposal | None], n: int, seen: set[Identity]) -> list[Suggestion]:
    taken: list[Suggestion] = []
    while len(taken) < n and (proposal := propose()) is not None:
        seen.add(identity(proposal[0]))
        taken.append(_suggestion(*proposal))
    return taken


def _suggestion(point: Point, origin: str) -> Suggestion:
    return Suggestion(point, {"origin": origin})


def _random(unseen: UnseenPoints) -> Callable[[], Proposal | None]:
    def propose() -> Proposal | None:
        point = unseen.draw()
        return None if point is None else (point, "random")

    return propose


def _defaults_first(
    space: SearchSpace, rng: Random, unseen: UnseenPoints, otherwise: Callable[[], Proposal | None]
) -> Callable[[], Proposal | None]:
    defaults = given_defaults(space)
    draws = (draw_point(space, rng, defaults) for _ in range(DEFAULT_DRAWS if defaults else 0))
    first = next((point for point in draws if unseen.accepts(point)), None)
    pending = [] if first is None else [first]

    def propose() -> Proposal | None:
        return (pending.pop(), "default") if pending else otherwise()

    return propose


def _tpe(
    space: SearchSpace,
    objectives: Sequence[Objective],
    observations: Sequence[Observation],
    seed: int,
    startup_trials: int,
    unseen: UnseenPoints,
) -> Callable[[], Proposal | None] | None:
    """Returns what proposes by TPE, or None while too few trials have ended with a value."""
    lessons = [(o, p) for o in observations if _is_sound(o, objectives) and (p := project(space, o.params)) is not None]
    ended = sum(o.state in (TrialState.COMPLETE, TrialState.PRUNED) for o, _ in lessons)
    if ended < startup_trials:
        return None
    from hposlurm.search.sampler import TpeStudy  # Optuna takes 0.2 s to import, which no other search needs

    study = TpeStudy(space, objectives, derive_seed(seed, "tpe", len(observations)), startup_trials)
    study.tell(lessons)
    at_random = _random(unseen)
    patience = REJECTIONS

    def propose() -> Proposal | None:
        nonlocal patience
        for _ in range(min(ASKS, patience)):
            if unseen.accepts(point := study.ask()):
                return point, "tpe"
            patience -= 1
        proposal = at_random()
        if proposal is not None:
            study.expect(proposal[0])
        return proposal

    return propose


def _is_sound(observation: Observation, objectives: Sequence[Objective]) -> bool:
    """Whether the observation has the values that its state promises for these objectives."""
    values = observation.values
    if observation.state is TrialState.COMPLETE and values is None:
        return False
    if observation.state not in (TrialState.COMPLETE, TrialState.PRUNED) or values is None:
        return True
    return len(values) == len(objectives) and all(math.isfinite(v) for v in values)
