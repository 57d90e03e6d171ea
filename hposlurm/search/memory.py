"""Caches what the search computed for a study. Standard library only.

The search, a pure function of the history, is called repeatedly with nearly the same history. The cache saves time and
cannot change an answer. It belongs to a caller that asks more than once: a simulation, a forecast, `explain`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hposlurm.search.known import KnownPoints
from hposlurm.space import SearchSpace

if TYPE_CHECKING:
    from hposlurm.search.auto.memory import AutoMemory
    from hposlurm.search.ranking import Ranking


class SearchMemory:
    """The cache's parts: each is used by one module, which replaces it if it was made for another problem."""

    def __init__(self) -> None:
        self.points: KnownPoints | None = None
        self.ranking: Ranking | None = None
        self.auto: AutoMemory | None = None

    def known_points(self, space: SearchSpace) -> KnownPoints:
        """Returns the cached points of `space`; none if the last call had another space."""
        if self.points is None or not self.points.is_of(space):
            self.points = KnownPoints(space)
        return self.points
