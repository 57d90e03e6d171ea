"""Chooses which paused trials are promoted, as in asynchronous successive halving."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from hposlurm.search.auto.records import LossTable
from hposlurm.search.rungs import Placing, quota
from hposlurm.trial import Objective

THROUGH_WHY = "let through to the end, to measure how well the rungs predict it"
EXHAUSTED_WHY = "the space has no new configuration: the best paused trial goes on"

Promotion = tuple[int, str]  # the row of a promoted trial, and why


def promotions(
    records: LossTable, lowest: int, factor: int, objectives: Sequence[Objective], *, is_last: bool = False
) -> Iterator[Promotion]:
    """Yields each paused trial that is promoted, the most urgent first.

    Trials that are let through come first. After those come, from the highest rung down, the best 1/factor of all
    trials that reached the rung or failed on the way. `is_last`: no new trials will come, so at least one trial of each
    rung is promoted.
    """
    waiting = records.is_paused & ~records.is_open & (records.target < records.top)
    yield from ((row, THROUGH_WHY) for row in np.flatnonzero(waiting & records.is_through).tolist())
    waiting &= ~records.is_through
    for k in range(records.top - 1, lowest - 1, -1):
        order, size = standing(records, k)
        goers = max(quota(size, factor), 1) if is_last else quota(size, factor)
        best = order[:goers]
        is_next = waiting[best] & (records.target[best] == k) & np.isfinite(records.losses[best, k])
        for place in np.flatnonzero(is_next).tolist():
            yield int(best[place]), _placing(records, k, order, size, goers, place).text(objectives[:1])


def standing(records: LossTable, k: int) -> tuple[NDArray[np.int64], int]:
    """Returns the rows of all trials at rung `k`, best first, and their number with those that failed on the way."""
    is_known = ~np.isnan(records.losses[:, k])
    is_lost = records.is_failed & ~is_known & (~np.isnan(records.losses[:, k - 1]) if k else True)
    known = np.flatnonzero(is_known)
    return records.best(known, k), len(known) + int(is_lost.sum())


def _placing(records: LossTable, k: int, order: NDArray[np.int64], size: int, goers: int, place: int) -> Placing:
    sign = -1.0 if records.is_maximised else 1.0
    mine, last = (sign * float(records.losses[order[i], k]) for i in (place, min(goers, len(order)) - 1))
    is_limit = math.isfinite(last) and not records.broken[order[min(goers, len(order)) - 1]]
    threshold = (last,) if is_limit else None
    return Placing(records.levels[k] or 0, place + 1, size, goers, (mine,), threshold)


def best_first(records: LossTable) -> Iterator[Promotion]:
    """Yields every paused trial, from the highest rung down, in each rung the best first."""
    waiting = records.is_paused & ~records.is_open
    for k in range(records.top - 1, -1, -1):
        here = np.flatnonzero(waiting & (records.target == k) & np.isfinite(records.losses[:, k]))
        yield from ((row, EXHAUSTED_WHY) for row in records.best(here, k).tolist())
