"""Finds what is certain to end a study: keys of its budget, and algorithms that end by themselves."""

from __future__ import annotations

from collections.abc import Iterable

from hposlurm.spec.algorithms import self_ending

# Neither `target` nor `terminator`: they may never be reached
_KEYS = frozenset({"n_trials", "gpu_hours", "wall_time", "patience"})


def ends_by(budget: Iterable[str], algorithms: Iterable[str]) -> frozenset[str]:
    """Returns the keys of `budget` (those that are set) and the `algorithms` that are certain to end a study."""
    return _KEYS.intersection(budget) | ({*self_ending()} & {*algorithms})
