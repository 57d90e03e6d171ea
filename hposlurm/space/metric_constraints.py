"""Limits on metrics, such as `peak_gpu_gb <= 30`: which of them a trial violates, and by how much."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from hposlurm.space.expressions import Expression, ExpressionError
from hposlurm.trial import Params, ParamValue

# Metrics that every trial has without reporting them, because the worker measures them.
MEASURED = ("peak_gpu_gb", "peak_host_gb")


@dataclass(frozen=True, slots=True)
class Limits:
    """Constraints that name at least one metric, and possibly parameters and facts.

    A limit is checked against the newest values of a trial. A limit on a metric that the trial did not report is
    violated once the trial is over, because its value is unknown; until then (`is_over` is False) it holds. A limit
    that names an inactive parameter holds.
    """

    expressions: tuple[Expression, ...] = ()
    #: The names of the metrics that the expressions mention.
    metrics: frozenset[str] = frozenset()
    #: The values of the names that are neither metrics nor parameters, such as `gpus`.
    facts: Mapping[str, ParamValue] = field(default_factory=dict)

    def violations(
        self, params: Params, metrics: Mapping[str, float | str], *, is_over: bool = True
    ) -> tuple[float, ...]:
        """Returns one number per limit: 0.0 if it holds, else a finite number above 0."""
        return tuple(self._violation(limit, params, metrics, is_over) for limit in self.expressions)

    def is_feasible(self, params: Params, metrics: Mapping[str, float | str]) -> bool:
        """True if every limit holds."""
        return all(violation <= 0 for violation in self.violations(params, metrics))

    def complaints(
        self, params: Params, metrics: Mapping[str, float | str], *, is_over: bool = True
    ) -> tuple[str, ...]:
        """Returns each violated limit with the values of its metrics: "peak_gpu_gb <= 30: peak_gpu_gb is 33.1"."""
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
