"""Curves for the rules, from what journals would hold."""

from __future__ import annotations

from typing import Any

from hposlurm.pruning import Curve, StopRule
from hposlurm.trial import Direction, Objective

LOSS = (Objective("loss"),)
GAIN = (Objective("loss", Direction.MAXIMIZE),)
TWO = (Objective("loss", weight=2.0), Objective("acc", Direction.MAXIMIZE, weight=0.5))


def report(step: int, **metrics: Any) -> dict[str, Any]:
    return {"kind": "report", "t": 0.0, "step": step, "metrics": metrics}


def curve(*losses: float, complete: bool = False, rule: StopRule | None = None) -> Curve:
    """A trial that reported these at steps 1, 2, …"""
    found = Curve(rule.objectives if rule else LOSS)
    for step, loss in enumerate(losses, 1):
        found.take(report(step, loss=loss))
    if complete:
        found.take({"kind": "end", "outcome": "complete"})
    return found
