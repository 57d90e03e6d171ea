"""Decides which rungs auto trusts, by trials that were trained to the end whatever their rungs showed.

Only those count. The early values of promoted trials were all good, so their order has little information.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hposlurm.search.auto.records import LossTable
from hposlurm.search.rung_correlation import LEAST_PAIRS, rank_correlation

# The rank correlation that is expected before anything is known, and the number of pairs that this counts as. Tuned
# only together with the threshold.
BELIEF = 0.6
BELIEF_PAIRS = 4
# Below this belief no trial stops at a rung: after five pairs with a correlation below .28, after many with one below
# .42. With it and recipe.FIRST_THROUGH the regret at 5/12/25 full trainings fell from .216/.044/.0062 to
# .185/.011/.0022 on three tasks whose early values have no information; on nine ordinary tasks it rose from
# .079/.021/.0082 to .111/.035/.0103.
THRESHOLD = 0.42


@dataclass(frozen=True, slots=True)
class TrustedRungs:
    """The rungs at which trials may stop, and how sure that is."""

    #: all rungs; the last one is the end
    levels: tuple[int | None, ...]
    #: the index of the rung below which no trial stops; if it is the last rung, every trial is trained to the end
    lowest: int
    #: the rank correlation of each rung with the end, NaN with too few pairs
    correlations: tuple[float, ...]
    #: how many trials each was computed from
    pairs: tuple[int, ...]
    #: the probability that the correlation at the lowest rung is in truth below the threshold
    doubt: float = 0.0

    @property
    def is_full(self) -> bool:
        """True if every trial is trained to the end."""
        return self.lowest == len(self.levels) - 1

    def notes(self) -> tuple[str, ...]:
        """Returns notes for people; none while all rungs are used."""
        if self.lowest == 0:
            return ()
        known = ", ".join(
            f"{correlation:.2f} at step {level} ({pairs} trials)"
            for level, correlation, pairs in zip(self.levels, self.correlations, self.pairs, strict=False)
            if not math.isnan(correlation)
        )
        found = f"early values hardly predict late ones here: rank correlation with the end {known}"
        if self.is_full:
            return (f"{found}; no trial is stopped any more",)
        return (f"{found}; the lowest rung is now step {self.levels[self.lowest]}",)


def trusted_rungs(records: LossTable) -> TrustedRungs:
    """Returns the rungs that the history gives reason to trust."""
    correlations, pairs = [], []
    final = records.losses[:, records.top]
    for k in range(records.top):
        early = records.losses[:, k]
        both = np.flatnonzero(records.is_through & np.isfinite(early) & np.isfinite(final))
        pairs.append(len(both))
        is_known = len(both) >= LEAST_PAIRS
        correlations.append(rank_correlation(early[both].tolist(), final[both].tolist()) if is_known else math.nan)
    believed = beliefs(correlations, pairs)
    lowest = next((k for k, belief in enumerate(believed) if belief >= THRESHOLD), records.top)
    left = doubt(believed[lowest], pairs[lowest]) if lowest < records.top else 1.0
    return TrustedRungs(records.levels, lowest, tuple(correlations), tuple(pairs), left)


def beliefs(correlations: Sequence[float], pairs: Sequence[int]) -> list[float]:
    """Returns the believed rank correlation of each rung with the end, given the measured ones.

    The prior of the first rung is BELIEF. After a rung with little information the prior is lower: the mean of BELIEF
    and that rung's belief. If each rung were judged separately, one of several rungs without information would soon
    look good by chance.
    """
    found, expected = [], BELIEF
    for correlation, count in zip(correlations, pairs, strict=True):
        seen = count if count >= LEAST_PAIRS else 0
        belief = (seen * correlation + BELIEF_PAIRS * expected) / (seen + BELIEF_PAIRS) if seen else expected
        found.append(belief)
        expected = min(BELIEF, (belief + BELIEF) / 2)
    return found


def doubt(belief: float, pairs: int) -> float:
    """Returns the probability that a rank correlation is below THRESHOLD if `belief` is believed after `pairs`.

    Uses a normal distribution with the usual standard error of a correlation, ((1 - r²) / n)^½. Returns 0 with too few
    pairs: the first trials are all trained to the end anyway.
    """
    if pairs < LEAST_PAIRS:
        return 0.0
    error = math.sqrt(max(1.0 - belief * belief, 1e-6) / (pairs + BELIEF_PAIRS))
    return 0.5 * math.erfc((belief - THRESHOLD) / error / math.sqrt(2.0))
