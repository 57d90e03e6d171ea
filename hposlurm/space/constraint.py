"""The form of a constraint on configurations, of which an expression is one kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from hposlurm.trial import ParamValue


class Constraint(Protocol):
    """A condition that every configuration must satisfy."""

    @property
    def text(self) -> str:
        """The condition as people read it."""
        ...

    @property
    def names(self) -> frozenset[str]:
        """The parameters and facts without which it decides nothing."""
        ...

    @property
    def size(self) -> int:
        """How long it takes, in parts of an expression."""
        ...

    def violation(self, values: Mapping[str, ParamValue]) -> float:
        """Returns 0.0 if it holds, else how far it is from that. Raises ExpressionError if that cannot be computed."""
        ...
