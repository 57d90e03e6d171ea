"""What was worked out about points already, kept for this process. Standard library only.

A pure function of the history is asked again and again with nearly the same history. What is kept here depends on the
space and on the point alone, so that it saves time and can change no answer.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hposlurm.search.points import Identity, Point, canonical, identity, project
from hposlurm.space import SearchSpace
from hposlurm.trial import Params

_SPACES = 4
_POINTS = 100_000


@dataclass(frozen=True, slots=True)
class KnownPoint:
    """`point` as of `project`, `identity` as of `canonical`, `violations` of the point; all shared, not to be changed.

    `told` is what a sampler keeps with it.
    """

    point: Point | None
    identity: Identity
    violations: tuple[float, ...]
    told: dict[Any, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KnownPoints:
    space: SearchSpace
    points: dict[Any, KnownPoint] = field(default_factory=dict)

    def of(self, params: Params) -> KnownPoint:
        # Python calls 1, 1.0 and true equal
        key = (tuple(params), *params.values(), *map(type, params.values()))
        found = self.points.get(key)
        if found is None:
            if len(self.points) >= _POINTS:
                self.points.clear()
            found = self.points[key] = self._look_at(params)
        return found

    def _look_at(self, params: Params) -> KnownPoint:
        point = project(self.space, params)
        whole = point if point is not None and len(point) == len(params) else canonical(self.space, params)
        violations: Sequence[float] = () if point is None else self.space.violations(point)
        return KnownPoint(point, identity(whole), tuple(violations))


_known: OrderedDict[str, KnownPoints] = OrderedDict()


def known_points(space: SearchSpace) -> KnownPoints:
    """What this process knows of `space`: the same for each equal one, for the few that were used last."""
    key = repr(space)
    found = _known.get(key)
    if found is None:
        found = _known[key] = KnownPoints(space)
        if len(_known) > _SPACES:
            _known.popitem(last=False)
    _known.move_to_end(key)
    return found
