"""Syne Tune by suggest and on_trial_result: ASHA, Hyperband (its ASHA with several brackets), BOHB, TPE and PBT."""

from __future__ import annotations

import datetime
import logging
from typing import Any

import numpy as np
from syne_tune import config_space
from syne_tune.backend.trial_status import Trial
from syne_tune.optimizer.baselines import ASHA, BOHB, TPE
from syne_tune.optimizer.scheduler import SchedulerDecision
from syne_tune.optimizer.schedulers.pbt import PopulationBasedTraining


class SyneTool:
    def __init__(self, setting: dict[str, Any]) -> None:
        logging.getLogger("syne_tune").setLevel(logging.ERROR)
        np.random.seed(setting["seed"])  # the draw of a trial's bracket
        common = {
            "config_space": {s["name"]: _domain(s) for s in setting["space"]},
            "metric": "loss",
            "random_seed": setting["seed"],
        }
        rungs = {
            "time_attr": "step",
            "max_t": setting["max_step"],
            "grace_period": setting["min_step"],
            "reduction_factor": setting["factor"],
        }
        name = setting["algorithm"].removeprefix("syne-")
        self._scheduler: Any
        if name == "tpe":
            self._scheduler = TPE(**common)
        elif name == "pbt":
            self._scheduler = PopulationBasedTraining(
                **common,
                time_attr="step",
                max_t=setting["max_step"],
                population_size=setting["workers"],
                perturbation_interval=setting["min_step"],
            )
        elif name == "bohb":
            self._scheduler = BOHB(**common, **rungs)
        else:
            brackets = 1 + _times(setting["factor"], setting["max_step"] / setting["min_step"])
            self._scheduler = ASHA(**common, **rungs, brackets=brackets if name == "hyperband" else 1)
        self._trials: dict[str, Trial] = {}

    def ask(self) -> dict[str, Any] | None:
        suggestion = self._scheduler.suggest()
        if suggestion is None:
            return None
        trial = Trial(len(self._trials), suggestion.config, datetime.datetime.now())
        self._trials[str(trial.trial_id)] = trial
        self._scheduler.on_trial_add(trial)
        parent = suggestion.checkpoint_trial_id
        copy_of = None if parent is None else str(parent)
        return {"trial": str(trial.trial_id), "params": suggestion.config, "copy_of": copy_of}

    def report(self, trial: str, step: int, loss: float, is_last: bool) -> bool:
        reporting, result = self._trials[trial], {"step": step, "loss": loss}
        decision = self._scheduler.on_trial_result(reporting, result)
        if decision == SchedulerDecision.STOP:
            self._scheduler.on_trial_remove(reporting)
        elif is_last:
            self._scheduler.on_trial_complete(reporting, result)
        return bool(decision == SchedulerDecision.CONTINUE)


def _times(factor: int, ratio: float) -> int:
    """How often `factor` goes into `ratio`."""
    return 0 if ratio < factor else 1 + _times(factor, ratio / factor)


def _domain(s: dict[str, Any]) -> Any:
    if s["type"] == "cat":
        return config_space.choice(s["choices"])
    if s["type"] == "int":
        return (config_space.lograndint if s.get("log") else config_space.randint)(s["low"], s["high"])
    return (config_space.loguniform if s.get("log") else config_space.uniform)(s["low"], s["high"])


open_tool = SyneTool
