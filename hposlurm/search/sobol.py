"""Sobol's sequence, scrambled by the study's seed: points that fill the space more evenly than random ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from hposlurm.search.observation import Observation
from hposlurm.search.points import Point
from hposlurm.search.sampler import BlindSampler
from hposlurm.search.seeds import derive_seed
from hposlurm.search.unit import from_unit
from hposlurm.space import SearchSpace

LENGTH = 2**30  # of the sequence
SKIPS = 1000  # points of the sequence may be old or not allowed in a row; then a random one is taken
_BLOCK = 64


class SobolSampler(BlindSampler):
    """Proposes the next points of the study's sequence, whose indices its trials keep."""

    asks = SKIPS
    rejections = LENGTH

    def __init__(self, space: SearchSpace, seed: int, observations: Sequence[Observation]) -> None:
        indices = [index for o in observations if isinstance(index := o.attrs.get("sobol"), int)]
        self._points = sobol_points(space, seed, max(indices, default=-1) + 1)
        self._index = -1

    @property
    def attrs(self) -> Mapping[str, object]:
        """The index of the point that was asked for last."""
        return {"sobol": self._index}

    def ask(self) -> Point | None:
        """Returns the next point; None at the end of the sequence."""
        self._index, point = next(self._points, (LENGTH, None))
        return point


def sobol_points(space: SearchSpace, seed: int, start: int) -> Iterator[tuple[int, Point]]:
    """Yields the points of the study's sequence from index `start` on, each with its index.

    Every parameter has its own dimension, even in points where it is inactive. So two points can be the same
    configuration, and constraints may forbid a point.
    """
    from scipy.stats.qmc import Sobol  # takes 0.5 s to import, which no other search needs

    # The sequence depends on the number of parameters: a further parameter gives another one
    engine = Sobol(max(1, len(space.parameters)), scramble=True, rng=derive_seed(seed, "sobol"))
    if start:
        engine.fast_forward(start)
    while start < LENGTH:
        # Draws end at multiples of a power of 2: Sobol warns if the first draw does not have such a size
        rows = engine.random(_BLOCK - start % _BLOCK).tolist()
        for row in rows:
            yield start, _point(space, row)
            start += 1


def _point(space: SearchSpace, row: list[float]) -> Point:
    coordinates = dict(zip(space.names, row, strict=False))
    return space.filled(lambda parameter: from_unit(parameter, coordinates[parameter.name]))
