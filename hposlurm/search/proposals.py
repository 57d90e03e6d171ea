"""How points come about one by one, each new and allowed. Standard library only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Protocol

from hposlurm.search.points import Identity, Point, draw_point, given_defaults
from hposlurm.search.unseen import UnseenPoints
from hposlurm.space import SearchSpace

DEFAULT_DRAWS = 1000  # for the parameters without a default, until the constraints hold
ASKS = 50  # of a model for one point; then a random one is taken (0.1 s each for TPE after 10,000 trials)
REJECTIONS = 400  # of a model's points in one call; then all are random


@dataclass(frozen=True, slots=True)
class Proposal:
    """A point to train."""

    point: Point
    #: what is to be kept with its trial
    attrs: dict[str, object]
    #: the index of the observation whose trial is continued there; None: a new trial
    continues: int | None = None


Propose = Callable[[], Proposal | None]
"""Answers the next point, or None: there is none. Whoever uses a point adds it to those that were seen."""


class Model(Protocol):
    """What knows where good points may be."""

    def ask(self) -> Point:
        """The point that it wants next: maybe an old one, maybe not allowed."""

    def expect(self, point: Point) -> None:
        """Takes note of a point that will run, whether it was asked for or not."""

    def refuse(self, point: Point) -> None:
        """Takes note of an answer that will not run."""


def at_random(unseen: UnseenPoints) -> Propose:
    def propose() -> Proposal | None:
        point = unseen.draw()
        return None if point is None else Proposal(point, {"origin": "random"})

    return propose


def by_model(
    model: Model,
    attrs: Mapping[str, object],
    unseen: UnseenPoints,
    asks: int | None = None,
    rejections: int = REJECTIONS,
) -> Propose:
    """What the model wants; where it keeps wanting points that are old or not allowed, random ones."""
    otherwise = at_random(unseen)
    patience, most = rejections, ASKS if asks is None else asks

    def propose() -> Proposal | None:
        nonlocal patience
        for number in range(min(most, patience)):
            point = model.ask()
            if unseen.accepts(point):
                model.expect(point)
                return Proposal(point, dict(attrs))
            if number == 0 and unseen.is_exhausted():
                return None  # a model that looks for what is not there takes long
            model.refuse(point)
            patience -= 1
        proposal = otherwise()
        if proposal is not None:
            model.expect(proposal.point)
        return proposal

    return propose


def defaults_first(space: SearchSpace, rng: Random, unseen: UnseenPoints, otherwise: Propose) -> Propose:
    """First the default values, where there are any and they are allowed."""
    defaults = given_defaults(space)
    draws = (draw_point(space, rng, defaults) for _ in range(DEFAULT_DRAWS if defaults else 0))
    first = next((point for point in draws if unseen.accepts(point)), None)
    pending = [] if first is None else [first]

    def propose() -> Proposal | None:
        return Proposal(pending.pop(), {"origin": "default"}) if pending else otherwise()

    return propose


def take(propose: Propose, n: int, seen: set[Identity], identity: Callable[[Point], Identity]) -> list[Proposal]:
    """Up to `n` proposals, which it adds to `seen`."""
    taken: list[Proposal] = []
    while len(taken) < n and (proposal := propose()) is not None:
        seen.add(identity(proposal.point))
        taken.append(proposal)
    return taken
