"""Draws random points that are allowed and new. Standard library only."""

from __future__ import annotations

import sys
from collections.abc import Set
from random import Random

from hposlurm.search.points import Identity, Point, draw_point, identity
from hposlurm.space import SearchSpace

QUICK_DRAWS = 100
ENUMERABLE = 20_000  # points; listing them takes well under a second
_USUAL_COST = 200  # of a draw (SearchSpace.cost); with more there are fewer draws
DRAWS = 50_000  # enough to find a region of a thousandth of the space almost surely


class UnseenPoints:
    """Random feasible points of `space` that are not in `seen`; a caller that uses a point adds it there."""

    def __init__(self, space: SearchSpace, rng: Random, seen: set[Identity]) -> None:
        self._space = space
        self._rng = rng
        self._seen = seen
        self._listed: list[Point] | None = None
        self._exceeds = -1  # the space is known to have more points than that
        self._is_large: bool | None = None  # None: not counted yet
        # a draw takes time for each parameter and each part of a constraint
        self._draws = max(1000, DRAWS * _USUAL_COST // max(_USUAL_COST, space.cost))

    @property
    def seen(self) -> Set[Identity]:
        """The points that were proposed before, as of now."""
        return self._seen

    def accepts(self, point: Point) -> bool:
        return identity(point) not in self._seen and self._space.is_feasible(point)

    def is_exhausted(self) -> bool:
        """True if certainly no point is left: only in a space of at most ENUMERABLE points."""
        if len(self._seen) <= self._exceeds:
            return False
        most = min(2 * len(self._seen), ENUMERABLE)  # so that the space is not counted again for every new point
        if self._space.cardinality(most) is None:
            self._exceeds = most if most < ENUMERABLE else sys.maxsize
            return False
        return all(identity(point) in self._seen for point in self._space.grid_points())

    def draw(self) -> Point | None:
        """Returns a new point, or None if the space is exhausted or so few points are allowed that none is found.

        Draws until one fits. If none fits soon and the space has at most ENUMERABLE points, takes one of the remaining
        points; so in such a space None means exhausted.
        """
        if self._listed is not None:
            return self._from_list(self._listed)
        point = self._by_rejection(QUICK_DRAWS)
        if point is not None:
            return point
        if self._is_large is None:
            self._is_large = self._space.cardinality(ENUMERABLE) is None
        if self._is_large:
            return self._by_rejection(self._draws)
        self._listed = list(self._space.grid_points())
        self._rng.shuffle(self._listed)
        return self._from_list(self._listed)

    def _by_rejection(self, draws: int) -> Point | None:
        points = (draw_point(self._space, self._rng) for _ in range(draws))
        return next((point for point in points if self.accepts(point)), None)

    def _from_list(self, listed: list[Point]) -> Point | None:
        while listed:
            if identity(point := listed.pop()) not in self._seen:
                return point
        return None
