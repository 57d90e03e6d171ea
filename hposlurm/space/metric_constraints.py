"""Limits on what trials measure, such as `peak_gpu_gb <= 30`: which of them a trial breaks, and by how much."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from hposlurm.space.expressions import Expression, ExpressionError
from hposlurm.trial import Params, ParamValue

# Metrics that every trial has without reporting them: the worker measures them.
MEASURED = ("peak_gpu_gb", "peak_host_gb")


@dataclass(frozen=True, slots=True)
class Limits:
    """Constraints that name a metric, beside it perhaps parameters and `facts`; `metrics` are the names of metrics.

    A limit holds on a trial's newest values. One on a metric that the trial did not report does not hold, since nobody
    knows, but it does while more may come (`is_over` is False); one that names an inactive parameter holds.
    """

    expressions: tuple[Expression, ...] = ()
    metrics: frozenset[str] = frozenset()
    facts: Mapping[str, ParamValue] = field(default_factory=dict)

    def violations(
        self, params: Params, metrics: Mapping[str, float | str], *, is_over: bool = True
    ) -> tuple[float, ...]:
        """One number per limit: 0.0 where it holds, above 0 (and finite) where it does not."""
        return tuple(self._violation(limit, params, metrics, is_over) for limit in self.expressions)

    def is_feasible(self, params: Params, metrics: Mapping[str, float | str]) -> bool:
        """Whether every limit holds."""
        return all(violation <= 0 for violation in self.violations(params, metrics))

    def complaints(
        self, params: Params, metrics: Mapping[str, float | str], *, is_over: bool = True
    ) -> tuple[str, ...]:
        """What each limit that does not hold is, with the values in it: "peak_gpu_gb <= 30: peak_gpu_gb is 33.1"."""
        found = []
        for limit, violation in zip(self.expressions, self.violations(params, metrics, is_over=is_over), strict=True):
            if violation > 0:
                named = sorted(limit.names & self.metrics)
                what = ", ".join(f"{name} is {_shown(metrics.get(name))}" for name in named)
                found.append(f"{limit}: {what}")
        return tuple(found)

    def _violation(self, limit: Expression, params: Params, metrics: Mapping[str, float | str], is_over: bool) -> float:
        known = {**self.facts, **params}
        if not limit.names <= known.keys() | self.metrics:
            return 0.0
        values = {name: value for name, value in metrics.items() if name in self.metrics and _is_number(value)}
        if not is_over and not limit.names & self.metrics <= metrics.keys():
            return 0.0
        try:
            return limit.violation({**values, **known})
        except ExpressionError:
            return 1.0


NO_LIMITS = Limits()


def _is_number(value: float | str) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _shown(value: float | str | None) -> str:
    if value is None:
        return "unknown"
    return value if isinstance(value, str) else f"{value:.6g}"
