"""What a study stops trials by, as a wave's plan keeps it."""

from __future__ import annotations

from dataclasses import dataclass

from hposlurm.trial import Objective

#: The rules that are asked at a report, and let a trial train on or end it there.
AT_REPORTS = frozenset({"asha_stopping", "median", "patient", "percentile", "threshold", "wilcoxon"})


@dataclass(frozen=True, slots=True)
class StopRule:
    """One of AT_REPORTS with all that it needs.

    asha_stopping: at each of `levels` a trial must reach what the best 1/`reduction_factor` of those that got there
    before it reach. percentile, median (50): its best value so far must be among the best `percentile` % of what the
    completed trials had at the same step, once there are `warmup_trials` of them. wilcoxon: a signed-rank test over all
    its steps must not say with `p_value` that it is worse than the best completed trial. threshold: its first objective
    must lie between `lower` and `upper`. patient: it must have improved in the last `patience` reports; with `patience`
    every other rule spares a trial that has.

    `compare_by` is how several objectives are compared (see pruning.scoring). Before `warmup_steps` nothing is stopped
    but by asha_stopping, whose first level is its own warm-up.
    """

    name: str
    objectives: tuple[Objective, ...]
    compare_by: str = "first"
    levels: tuple[int, ...] = ()
    reduction_factor: int = 3
    percentile: float = 50.0
    warmup_steps: int = 0
    warmup_trials: int = 5
    lower: float | None = None
    upper: float | None = None
    p_value: float = 0.1
    patience: int | None = None
