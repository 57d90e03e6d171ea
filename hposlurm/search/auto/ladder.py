"""Rungs, and which paused trials go on: promotion as in asynchronous successive halving."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from hposlurm.search.auto.records import Records
from hposlurm.search.rungs import quota, rung_levels

if TYPE_CHECKING:
    from hposlurm.spec import SearchSpec

FULL = (None,)
SPAN = 27  # the end is about so many times as far as the lowest rung, where none is asked for


def levels_of(search: SearchSpec) -> tuple[int | None, ...]:
    """The steps at which trials are compared, the last one where training ends; that alone without `max_resource`."""
    most = search.max_resource
    if most is None:
        return FULL
    return rung_levels(search.min_resource or math.ceil(most / SPAN), most, search.reduction_factor)


def promotions(records: Records, lowest: int, factor: int, *, is_last: bool = False) -> Iterator[int]:
    """Yields the row of each paused trial that goes on, the most urgent first.

    Trials that are let through come first; then, from the highest rung down, those that are among the best 1/factor of
    all that got to their rung or failed on the way there. `is_last`: no new trials will come, so that at least one
    trial of a rung goes on.
    """
    waiting = records.is_paused & ~records.is_open & (records.target < records.top)
    yield from np.flatnonzero(waiting & records.is_through).tolist()
    waiting &= ~records.is_through
    for k in range(records.top - 1, lowest - 1, -1):
        is_known = ~np.isnan(records.losses[:, k])
        is_lost = records.is_failed & ~is_known & (~np.isnan(records.losses[:, k - 1]) if k else True)
        known = np.flatnonzero(is_known)
        order = known[np.argsort(records.losses[known, k], kind="stable")]
        count = quota(len(known) + int(is_lost.sum()), factor)
        best = order[: max(count, 1) if is_last else count]
        is_next = waiting[best] & (records.target[best] == k) & np.isfinite(records.losses[best, k])
        yield from best[is_next].tolist()


def best_first(records: Records) -> Iterator[int]:
    """Yields the row of every paused trial, those of the highest rung first and there the best one."""
    waiting = records.is_paused & ~records.is_open
    for k in range(records.top - 1, -1, -1):
        here = np.flatnonzero(waiting & (records.target == k) & np.isfinite(records.losses[:, k]))
        yield from here[np.argsort(records.losses[here, k], kind="stable")].tolist()
