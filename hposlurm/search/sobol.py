"""Sobol's sequence, scrambled by the study's seed: points that fill the space more evenly than random ones."""

from __future__ import annotations

from collections.abc import Iterator

from hposlurm.search.points import Point
from hposlurm.search.seeds import derive_seed
from hposlurm.search.unit import from_unit
from hposlurm.space import SearchSpace

LENGTH = 2**30  # of the sequence
_BLOCK = 64


def sobol_points(space: SearchSpace, seed: int, start: int) -> Iterator[tuple[int, Point]]:
    """Yields the points of the study's one sequence from index `start` on, each with its index.

    Every parameter has a dimension of its own, which a point in which it is inactive does not use: so two points can
    be the same configuration, and constraints may forbid one.
    """
    from scipy.stats.qmc import Sobol  # takes 0.5 s to import, which no other search needs

    # The sequence of a space is that of its size: another parameter makes another one
    engine = Sobol(max(1, len(space.parameters)), scramble=True, rng=derive_seed(seed, "sobol"))
    if start:
        engine.fast_forward(start)
    while start < LENGTH:
        # A draw of a power of 2 that begins at a multiple of it: Sobol warns of a first one that is not
        rows = engine.random(_BLOCK - start % _BLOCK).tolist()
        for row in rows:
            yield start, _point(space, row)
            start += 1


def _point(space: SearchSpace, row: list[float]) -> Point:
    coordinates = dict(zip(space.names, row, strict=False))
    return space.filled(lambda parameter: from_unit(parameter, coordinates[parameter.name]))
