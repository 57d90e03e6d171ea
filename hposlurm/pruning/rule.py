"""The stopping rule of a study, as a wave's plan records it."""

from __future__ import annotations

from dataclasses import dataclass

from hposlurm.trial import Objective


@dataclass(frozen=True, slots=True)
class StopRule:
    """One of pruning.rules.RULES with its settings. A trial goes on while the condition of the rule holds.

    - asha_stopping: at each rung the trial is among the best 1/`reduction_factor` of those that reached it earlier.
    - percentile, median (50 %): the trial's best value so far is among the best `percentile` % of the completed trials
      at the same step.
    - wilcoxon: a signed-rank test over all steps does not find it worse than the best completed trial.
    - threshold: the first objective is between `lower` and `upper`.
    - patient: the trial has improved in its last `patience` reports.
    """

    #: One of pruning.rules.RULES.
    name: str
    #: The objectives of the study.
    objectives: tuple[Objective, ...]
    #: How several objectives are compared: "first", "weighted" or "domination" (see pruning.scoring).
    compare_by: str = "first"
    #: asha_stopping: the steps of the rungs, ascending.
    levels: tuple[int, ...] = ()
    #: asha_stopping: one in `reduction_factor` trials goes on from a rung.
    reduction_factor: int = 3
    #: percentile: the share of trials that go on, in percent.
    percentile: float = 50.0
    #: No trial is stopped before this step. asha_stopping ignores it: its first rung is its warm-up.
    warmup_steps: int = 0
    #: percentile: no trial is stopped until this many trials have completed.
    warmup_trials: int = 5
    #: threshold: the smallest allowed value.
    lower: float | None = None
    #: threshold: the largest allowed value.
    upper: float | None = None
    #: wilcoxon: the significance level.
    p_value: float = 0.1
    #: patient: the number of reports. With any other rule, a trial that improved in these reports is not stopped.
    patience: int | None = None

    @property
    def kept_at(self) -> tuple[int, ...]:
        """The steps at which the values of a trial decide; () if each of its reports may."""
        return self.levels if self.patience is None else ()
