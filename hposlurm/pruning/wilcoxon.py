"""Wilcoxon's signed-rank test for differences above 0; differences of 0 count half above and half below (zsplit)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

# Up to this many differences every choice of signs is counted; above it the normal approximation is accurate enough
_EXACT = 50


def probability_of_greater(differences: Sequence[float]) -> float:
    """Returns the p-value of the differences if they were distributed symmetrically around 0.

    A small value means that they are above 0. `differences` must not be empty.
    """
    n = len(differences)
    ranks, ties = _doubled_ranks([abs(d) for d in differences])
    ranked = list(zip(ranks, differences, strict=True))
    above = sum(rank for rank, d in ranked if d > 0)
    if n <= _EXACT:
        return _exact([rank for rank, d in ranked if d != 0], above)
    above += sum(rank for rank, d in ranked if d == 0) // 2
    spread = math.sqrt((n * (n + 1) * (2 * n + 1) - ties / 2) / 24)
    return 0.5 * math.erfc((above / 2 - n * (n + 1) / 4) / spread / math.sqrt(2)) if spread else 1.0


def _doubled_ranks(sizes: Sequence[float]) -> tuple[list[int], int]:
    """Returns twice the rank of each size (equal sizes share the mean), and the sum of t³ - t over groups of t ties."""
    order = sorted(range(len(sizes)), key=sizes.__getitem__)
    ranks, ties, place = [0] * len(sizes), 0, 0
    for _, group in groupby(order, key=sizes.__getitem__):
        members = list(group)
        ties += len(members) ** 3 - len(members)
        for index in members:
            ranks[index] = 2 * place + len(members) + 1
        place += len(members)
    return ranks, ties


def _exact(ranks: Sequence[int], above: int) -> float:
    """Returns the share of all choices of signs in which the positive ranks add up to `above` or more."""
    counts = [1] + [0] * sum(ranks)  # number of choices by their sum
    for rank in ranks:
        for total in range(len(counts) - 1, rank - 1, -1):
            counts[total] += counts[total - rank]
    return sum(counts[above:]) / sum(counts)
