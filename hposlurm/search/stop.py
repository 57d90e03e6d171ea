"""Builds the rule by which workers end trials at a report from the study file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hposlurm.pruning import StopRule
from hposlurm.search.rungs import levels_of
from hposlurm.spec.algorithms import PRUNERS
from hposlurm.trial import Objective

if TYPE_CHECKING:
    from hposlurm.spec import SearchSpec


def stop_rule(search: SearchSpec, objectives: Sequence[Objective]) -> StopRule | None:
    """Returns the rule for a wave's plan; None if no trial is stopped before its assignment ends."""
    if search.stop_by is None:
        return None
    rule = PRUNERS[search.stop_by]
    return StopRule(
        name=rule.name,
        objectives=tuple(objectives),
        compare_by=search.compare_by,
        levels=levels_of(search)[:-1] if rule.rungs == "always" else (),
        reduction_factor=search.reduction_factor,
        percentile=search.percentile or rule.percentile,
        warmup_steps=search.warmup_steps,
        warmup_trials=search.warmup_trials or 5,
        lower=search.lower,
        upper=search.upper,
        p_value=search.p_value or 0.1,
        patience=search.patience,
    )
