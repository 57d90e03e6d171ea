"""Random search. Standard library only."""

from __future__ import annotations

from hposlurm.search.points import Point
from hposlurm.search.sampler import BlindSampler
from hposlurm.search.unseen import UnseenPoints


class RandomSampler(BlindSampler):
    """Draws each point at random from those that are allowed and new."""

    def __init__(self, unseen: UnseenPoints) -> None:
        self._unseen = unseen

    def ask(self) -> Point | None:
        """Returns a new point; None if none is found."""
        return self._unseen.draw()
