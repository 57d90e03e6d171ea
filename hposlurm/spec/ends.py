"""What ends a study for certain: parts of its budget, and algorithms that end by themselves."""

from __future__ import annotations

from collections.abc import Iterable

# Neither `target` nor `terminator`: what they wait for may never come
_KEYS = frozenset({"n_trials", "gpu_hours", "wall_time", "patience"})
_ALGORITHMS = frozenset({"grid", "pbt"})


def ends_by(budget: Iterable[str], algorithms: Iterable[object]) -> frozenset[str]:
    """Returns those of a budget's keys, as far as they are set, and of the algorithms that end a study for certain."""
    names = {name for name in algorithms if isinstance(name, str)}
    return _KEYS.intersection(budget) | (_ALGORITHMS & names)
