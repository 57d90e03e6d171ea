"""How points come about one by one, each new and allowed. Standard library only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from hposlurm.search.points import Identity, Point, draw_point, given_defaults
from hposlurm.search.sampler import Sampler
from hposlurm.search.unseen import UnseenPoints
from hposlurm.space import SearchSpace

DEFAULT_DRAWS = 1000  # for the parameters without a default, until the constraints hold


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


def at_random(unseen: UnseenPoints) -> Propose:
    def propose() -> Proposal | None:
        point = unseen.draw()
        return None if point is None else Proposal(point, {"origin": "random"})

    return propose


def by_sampler(sampler: Sampler, name: str, unseen: UnseenPoints) -> Propose:
    """Returns what proposes by a sampler; random points where that keeps wanting old ones or ones not allowed."""
    otherwise = at_random(unseen)
    patience = sampler.rejections

    def propose() -> Proposal | None:
        nonlocal patience
        for number in range(min(sampler.asks, patience)):
            point = sampler.ask()
            if point is None:
                return None
            if unseen.accepts(point):
                sampler.expect(point)
                return Proposal(point, {"origin": name, **sampler.attrs})
            if number == 0 and unseen.is_exhausted():
                return None  # a model that looks for what is not there takes long
            sampler.refuse(point)
            patience -= 1
        proposal = otherwise()
        if proposal is not None:
            sampler.expect(proposal.point)
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
