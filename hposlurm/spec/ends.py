"""What ends a study for certain: parts of its budget, and algorithms that end by themselves."""

from __future__ import annotations

from collections.abc import Iterable

from hposlurm.spec.algorithms import self_ending

# Neither `target` nor `terminator`: what they wait for may never come
_KEYS = frozenset({"n_trials", "gpu_hours", "wall_time", "patience"})


def ends_by(budget: Iterable[str], algorithms: Iterable[str]) -> frozenset[str]:
    """Returns those of a budget's keys, as far as they are set, and of the algorithms that end a study for certain."""
    return _KEYS.intersection(budget) | ({*self_ending()} & {*algorithms})
