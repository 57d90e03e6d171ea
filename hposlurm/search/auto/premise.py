"""Whether early values predict late ones in this study: from trials that went on to the end whatever their rungs said.

Only those count, since among trials that were promoted the early values were all good: their order says little.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hposlurm.search.auto.encoding import Floats
from hposlurm.search.auto.records import Records

LEAST_PAIRS = 5
BELIEF = 0.6  # the rank correlation that is expected before anything is known …
BELIEF_PAIRS = 4  # … which counts like so many pairs
THRESHOLD = 0.42


@dataclass(frozen=True, slots=True)
class Premise:
    """`lowest` is the rung below which no trial stops; the last one: every trial is trained to the end.

    `correlations[k]` is the rank correlation between rung k and the end over `pairs[k]` trials, NaN with too few.
    """

    levels: tuple[int | None, ...]
    lowest: int
    correlations: tuple[float, ...]
    pairs: tuple[int, ...]

    @property
    def is_full(self) -> bool:
        """Whether every trial is trained to the end."""
        return self.lowest == len(self.levels) - 1

    def notes(self) -> tuple[str, ...]:
        """What a person should know: nothing while the rungs are used as they were asked for."""
        if self.lowest == 0:
            return ()
        told = ", ".join(
            f"{correlation:.2f} at step {level} ({pairs} trials)"
            for level, correlation, pairs in zip(self.levels, self.correlations, self.pairs, strict=False)
            if not math.isnan(correlation)
        )
        found = f"early values hardly predict late ones here: rank correlation with the end {told}"
        if self.is_full:
            return (f"{found}; no trial is stopped any more",)
        return (f"{found}; the lowest rung is now step {self.levels[self.lowest]}",)


def check(records: Records) -> Premise:
    """Returns what the history says about the rungs."""
    correlations, pairs = [], []
    final = records.losses[:, records.top]
    for k in range(records.top):
        early = records.losses[:, k]
        both = np.flatnonzero(records.is_through & np.isfinite(early) & np.isfinite(final))
        pairs.append(len(both))
        correlations.append(rank_correlation(early[both], final[both]) if len(both) >= LEAST_PAIRS else math.nan)
    lowest = next((k for k in range(records.top) if is_trusted(correlations[k], pairs[k])), records.top)
    return Premise(records.levels, lowest, tuple(correlations), tuple(pairs))


def is_trusted(correlation: float, pairs: int) -> bool:
    """Whether trials may be stopped at a rung of this rank correlation with the end."""
    if pairs < LEAST_PAIRS:
        return True
    return (pairs * correlation + BELIEF_PAIRS * BELIEF) / (pairs + BELIEF_PAIRS) >= THRESHOLD


def rank_correlation(a: ArrayLike, b: ArrayLike) -> float:
    """Spearman's; 0 where one side is constant."""
    x, y = _ranks(np.asarray(a, dtype=float)), _ranks(np.asarray(b, dtype=float))
    norm = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / norm if norm else 0.0


def _ranks(values: Floats) -> Floats:
    """Places in ascending order around their mean; equal values share theirs."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[place]
    return np.asarray(ranks - ranks.mean())
