"""Grid search: every allowed combination once, in one shuffled order for the whole study. Standard library only.

Optuna's GridSampler is not used: with ask and tell it raises at the last point and repeats points that still run.
"""

from __future__ import annotations

from collections.abc import Set
from itertools import islice
from random import Random

from hposlurm.search.points import Identity, Point, given_defaults, identity
from hposlurm.search.sampler import BlindSampler
from hposlurm.search.seeds import derive_seed
from hposlurm.space import SearchSpace, SpaceError, same_value

MAX_GRID_POINTS = 1_000_000


def grid_order(space: SearchSpace, seed: int) -> list[Point]:
    """Returns all points of the grid in the order in which a study with this seed runs them.

    The first point has the default values, if a point of the grid has all defaults that are active in it. Raises
    SpaceError for a continuous parameter (its name is in the message) and for more than MAX_GRID_POINTS points.
    """
    points = list(islice(space.grid_points(), MAX_GRID_POINTS + 1))
    if len(points) > MAX_GRID_POINTS:
        raise SpaceError(
            f"parameters: the grid has more than {MAX_GRID_POINTS:,} points; "
            "give fewer values, or use search.algorithm random"
        )
    Random(derive_seed(seed, "grid")).shuffle(points)
    defaults = given_defaults(space)
    first = max(range(len(points)), key=lambda i: _match(points[i], defaults), default=0)
    if points and _match(points[first], defaults) > 0:
        points.insert(0, points.pop(first))
    return points


class GridSampler(BlindSampler):
    """Proposes the points of `grid_order` that are not in `seen`, each once."""

    def __init__(self, space: SearchSpace, seed: int, seen: Set[Identity]) -> None:
        self._points = iter(grid_order(space, seed))
        self._seen = seen

    def ask(self) -> Point | None:
        """Returns the next point; None after the last one."""
        return next((point for point in self._points if identity(point) not in self._seen), None)


def _match(point: Point, defaults: Point) -> int:
    """Returns how many defaults the point has; 0 if it differs from one of them."""
    common = point.keys() & defaults.keys()
    return len(common) if all(same_value(point[name], defaults[name]) for name in common) else 0
