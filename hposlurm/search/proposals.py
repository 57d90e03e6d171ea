"""Proposes points one by one, each new and allowed. Standard library only."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from hposlurm.search.observation import Proposal
from hposlurm.search.points import Identity, Point, draw_point, given_defaults
from hposlurm.search.sampler import Sampler
from hposlurm.search.unseen import UnseenPoints
from hposlurm.space import SearchSpace

DEFAULT_DRAWS = 1000  # of the parameters without a default, at most, until a point meets the constraints


Propose = Callable[[], Proposal | None]
"""Returns the next point, or None if there is none. A caller that uses a point adds it to the seen ones."""


def at_random(unseen: UnseenPoints) -> Propose:
    def propose() -> Proposal | None:
        point = unseen.draw()
        return None if point is None else Proposal(point, {"origin": "random"})

    return propose


def by_sampler(sampler: Sampler, name: str, unseen: UnseenPoints) -> Propose:
    """Returns a function that proposes by a sampler, or at random if its points are too often old or not allowed."""
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
                return None  # a model would take long to search for points that do not exist
            sampler.refuse(point)
            patience -= 1
        proposal = otherwise()
        if proposal is not None:
            sampler.expect(proposal.params)
        return proposal

    return propose


def defaults_first(space: SearchSpace, rng: Random, unseen: UnseenPoints, otherwise: Propose) -> Propose:
    """Returns a function that proposes the default values first, if there are any and they are allowed."""
    defaults = given_defaults(space)
    draws = (draw_point(space, rng, defaults) for _ in range(DEFAULT_DRAWS if defaults else 0))
    first = next((point for point in draws if unseen.accepts(point)), None)
    pending = [] if first is None else [first]

    def propose() -> Proposal | None:
        return Proposal(pending.pop(), {"origin": "default"}) if pending else otherwise()

    return propose


def take(propose: Propose, n: int, seen: set[Identity], identity: Callable[[Point], Identity]) -> list[Proposal]:
    """Returns up to `n` proposals and adds them to `seen`."""
    taken: list[Proposal] = []
    while len(taken) < n and (proposal := propose()) is not None:
        seen.add(identity(proposal.params))
        taken.append(proposal)
    return taken
