"""Finds the breaks of a study: the times between its end and a later resume, which are not its own. Pure."""

from __future__ import annotations

from itertools import pairwise

from hposlurm.records.history import History


def break_s(history: History, begin: float, end: float) -> float:
    """Returns the seconds between `begin` and `end` in which the study had ended and was not yet resumed."""
    spans = ((one.created_at, after.created_at) for one, after in pairwise(history.plans) if one.finished)
    return sum(max(0.0, min(to, end) - max(since, begin)) for since, to in spans)
