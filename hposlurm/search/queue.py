"""Suggests the configurations that the study file lists to be tried first. Standard library only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from hposlurm.search.observation import Observation, Proposal
from hposlurm.search.points import Point, canonical, draw_point, given_defaults, identity
from hposlurm.search.seeds import derive_seed
from hposlurm.search.unseen import ENUMERABLE, UnseenPoints
from hposlurm.space import SearchSpace, same_value, signature
from hposlurm.trial import Params

ORIGIN = "enqueue"
DRAWS = 1000  # of the parameters that an entry leaves open, at most, until it fits and meets the constraints


def enqueued(
    space: SearchSpace, entries: Sequence[Params], observations: Sequence[Observation], seed: int
) -> Iterator[Proposal]:
    """Yields the configurations that are still to be tried first, in the order of `entries`.

    A parameter that an entry leaves open gets its default if that fits, else a random value. An entry is skipped if it
    has a trial already (`attrs["enqueued"]`), or if every allowed configuration with its values had one.
    """
    tried = {observation.attrs.get("enqueued") for observation in observations}
    seen = {identity(canonical(space, observation.params)) for observation in observations} if entries else set()
    for entry in entries:
        wanted = canonical(space, entry)
        name = signature(wanted)
        if name in tried:
            continue
        tried.add(name)
        rng = Random(derive_seed(seed, ORIGIN, name))
        point = _completed(space, wanted, rng, UnseenPoints(space, rng, seen))
        if point is not None:
            seen.add(identity(point))
            yield Proposal(point, {"origin": ORIGIN, "enqueued": name})


def _completed(space: SearchSpace, wanted: Point, rng: Random, unseen: UnseenPoints) -> Point | None:
    """Returns an allowed, new configuration with the values of `wanted`; None if none is found."""
    defaults = {name: value for name, value in given_defaults(space).items() if name not in wanted}
    for fixed in (defaults | wanted, wanted):
        draws = (draw_point(space, rng, fixed) for _ in range(DRAWS))
        fitting = (point for point in draws if _has(point, wanted) and space.contains(point))
        found = next(filter(unseen.accepts, fitting), None)
        if found is not None:
            return found
    if space.cardinality(ENUMERABLE) is None:
        return None
    return next((p for p in space.grid_points() if _has(p, wanted) and unseen.accepts(p)), None)


def _has(point: Point, wanted: Point) -> bool:
    return all(name in point and same_value(point[name], value) for name, value in wanted.items())
