"""Keeps what the search worked out for a study already. Standard library only.

A pure function of the history is asked again and again with nearly the same history. What is kept here saves time and
can change no answer. It belongs to whoever asks more than once: a simulation, a forecast, `explain`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hposlurm.search.known import KnownPoints
from hposlurm.space import SearchSpace

if TYPE_CHECKING:
    from hposlurm.search.auto.memory import AutoMemory
    from hposlurm.search.ranking import Ranking


class SearchMemory:
    """Each part is used by one module, which replaces it when it was made for something else."""

    def __init__(self) -> None:
        self.points: KnownPoints | None = None
        self.ranking: Ranking | None = None
        self.auto: AutoMemory | None = None

    def known_points(self, space: SearchSpace) -> KnownPoints:
        """Returns what is known of the points of `space`; nothing yet if it is not the space of the last time."""
        if self.points is None or not self.points.is_of(space):
            self.points = KnownPoints(space)
        return self.points
