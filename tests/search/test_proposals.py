"""A model is asked only as long as there are new points."""

from __future__ import annotations

from random import Random

import pytest

from hposlurm.search.points import Identity, Point, identity
from hposlurm.search.proposals import by_sampler, take
from hposlurm.search.sampler import ASKS, BlindSampler
from hposlurm.search.unseen import UnseenPoints
from hposlurm.space import CategoricalParameter, FloatParameter, IntParameter, SearchSpace
from hposlurm.space.expressions import parse

SIX = SearchSpace((CategoricalParameter("a", ("x", "y")), IntParameter("b", 1, 3)))


class Stubborn(BlindSampler):
    """Proposes the same point each time."""

    def __init__(self, point: Point) -> None:
        self.point = point
        self.asked = 0

    def ask(self) -> Point:
        self.asked += 1
        return self.point


def found(space: SearchSpace, model: Stubborn, n: int) -> list[Point]:
    seen: set[Identity] = set()
    propose = by_sampler(model, "model", UnseenPoints(space, Random(0), seen))
    return [proposal.params for proposal in take(propose, n, seen, identity)]


def test_if_the_sampler_repeats_old_points_random_ones_follow_until_none_is_left() -> None:
    model = Stubborn({"a": "x", "b": 1})
    points = found(SIX, model, 10)
    assert points[0] == model.point
    assert len({identity(point) for point in points}) == len(points) == 6


def test_no_sampler_is_asked_once_the_space_is_exhausted() -> None:
    model = Stubborn({"a": "x", "b": 1})
    found(SIX, model, 6)
    asked = model.asked
    assert asked == 1 + 5 * ASKS
    again = Stubborn(model.point)
    found(SIX, again, 7)
    assert again.asked == asked + 1


@pytest.mark.parametrize(
    ("space", "count", "is_exhausted"),
    [
        (SIX, 6, True),
        (SIX, 5, False),
        (SearchSpace((FloatParameter("x", 0.0, 1.0),)), 50, False),
        (SearchSpace(SIX.parameters, constraints=(parse("b > 1 or a == 'x'"),)), 5, True),
    ],
)
def test_a_space_is_exhausted_only_if_that_is_certain(space: SearchSpace, count: int, is_exhausted: bool) -> None:
    seen: set[Identity] = set()
    unseen = UnseenPoints(space, Random(1), seen)
    for _ in range(count):
        point = unseen.draw()
        assert point is not None
        seen.add(identity(point))
    assert unseen.is_exhausted() is is_exhausted
