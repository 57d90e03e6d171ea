"""Whether early values predict late ones in this study: from trials that went on to the end whatever their rungs said.

Only those count, since among trials that were promoted the early values were all good: their order says little.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
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
    `doubt` is the probability that at the lowest rung it is below the threshold after all.
    """

    levels: tuple[int | None, ...]
    lowest: int
    correlations: tuple[float, ...]
    pairs: tuple[int, ...]
    doubt: float = 0.0

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
    believed = beliefs(correlations, pairs)
    lowest = next((k for k, belief in enumerate(believed) if belief >= THRESHOLD), records.top)
    left = doubt(believed[lowest], pairs[lowest]) if lowest < records.top else 1.0
    return Premise(records.levels, lowest, tuple(correlations), tuple(pairs), left)


def beliefs(correlations: Sequence[float], pairs: Sequence[int]) -> list[float]:
    """What is believed of the rank correlation of each rung with the end, after what was seen of it.

    Before, BELIEF is expected of the first rung, and less of a rung behind one that says little: the middle of both.
    Of several rungs that say nothing one would soon look as if it did, were each judged alone.
    """
    found, expected = [], BELIEF
    for correlation, count in zip(correlations, pairs, strict=True):
        seen = count if count >= LEAST_PAIRS else 0
        belief = (seen * correlation + BELIEF_PAIRS * expected) / (seen + BELIEF_PAIRS) if seen else expected
        found.append(belief)
        expected = min(BELIEF, (belief + BELIEF) / 2)
    return found


def doubt(belief: float, pairs: int) -> float:
    """The probability that a rank correlation is below THRESHOLD, where `belief` is believed of it after `pairs`.

    By a normal distribution with the usual standard error of a correlation, ((1 - r²) / n)^½. 0 with too few pairs:
    the first trials all go to the end, and more of them would tell nothing sooner.
    """
    if pairs < LEAST_PAIRS:
        return 0.0
    error = math.sqrt(max(1.0 - belief * belief, 1e-6) / (pairs + BELIEF_PAIRS))
    return 0.5 * math.erfc((belief - THRESHOLD) / error / math.sqrt(2.0))


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
