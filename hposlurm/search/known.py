"""Caches what was computed about the points of a space and depends only on the space and the point.

Standard library only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hposlurm.search.points import Identity, Point, canonical, identity, project
from hposlurm.space import SearchSpace
from hposlurm.trial import Params

_POINTS = 100_000  # kept at most: about 200 MB


@dataclass(frozen=True, slots=True)
class KnownPoint:
    """A point and its properties; its parts are shared and must not be changed."""

    #: from `project`
    point: Point | None
    #: from `canonical`
    identity: Identity
    #: one number per constraint, above 0 where the point violates it
    violations: tuple[float, ...]
    #: what a sampler keeps with the point
    kept: dict[Any, Any] = field(default_factory=dict)


class KnownPoints:
    """The cached points of one space."""

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.points: dict[Any, KnownPoint] = {}
        self._text = repr(space)

    def is_of(self, space: SearchSpace) -> bool:
        """True if they are points of `space`, or of one with the same repr: 1 and true are equal for Python."""
        return space is self.space or repr(space) == self._text

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
