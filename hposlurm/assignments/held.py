"""Which trials have an assignment already that somebody is at, or will be: these are never assigned a second time."""

from __future__ import annotations

from collections.abc import Collection

from hposlurm.history import History


def held(history: History, still_open: Collection[int]) -> frozenset[int]:
    """Numbers of the trials of the waves in `still_open`: the cluster may start any of their elements again."""
    open_plans = (plan for plan in history.in_flight if plan.wave in still_open)
    return frozenset(assignment.trial for plan in open_plans for assignment in plan.assignments)
