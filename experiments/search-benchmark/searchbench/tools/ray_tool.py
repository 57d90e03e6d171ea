"""Ray Tune's ASHA and HyperBand: its scheduler objects, asked report by report, with points drawn from its domains."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, HyperBandScheduler, TrialScheduler


class _Trial:
    """What the schedulers look at of a trial."""

    is_saving = False

    def __init__(self, number: int, params: dict[str, Any]) -> None:
        self.trial_id, self.params, self.status = str(number), params, Trial.RUNNING


class RayTool:
    """Also the controller that the schedulers talk to: HyperBand stops paused trials through it."""

    def __init__(self, setting: dict[str, Any]) -> None:
        logging.getLogger("ray").setLevel(logging.ERROR)
        np.random.seed(setting["seed"])
        self._rng = np.random.default_rng(setting["seed"])
        self._domains = {s["name"]: _domain(s) for s in setting["space"]}
        self._trials: dict[str, _Trial] = {}
        common = {"time_attr": "time", "metric": "loss", "mode": "min", "reduction_factor": setting["factor"]}
        self._unit = 1
        if setting["algorithm"] == "ray-asha":
            common |= {"grace_period": setting["min_step"], "max_t": setting["max_step"]}
            self._scheduler: Any = AsyncHyperBandScheduler(**common)
        else:  # HyperBand's lowest rung is one unit of time: so many steps are one
            self._unit = setting["min_step"]
            self._scheduler = HyperBandScheduler(max_t=setting["max_step"] // self._unit, **common)

    def ask(self) -> dict[str, Any]:
        trial = None
        if isinstance(self._scheduler, HyperBandScheduler):
            trial = self._scheduler.choose_trial_to_run(self)
        if trial is None:
            params = {name: domain.sample(random_state=self._rng) for name, domain in self._domains.items()}
            trial = _Trial(len(self._trials), {name: getattr(v, "item", lambda v=v: v)() for name, v in params.items()})
            self._trials[trial.trial_id] = trial
            self._scheduler.on_trial_add(self, trial)
        trial.status = Trial.RUNNING
        return {"trial": trial.trial_id, "params": trial.params}

    def report(self, trial: str, step: int, loss: float, is_last: bool) -> bool:
        reporting = self._trials[trial]
        result = {"time": step / self._unit, "loss": loss}
        decision = self._scheduler.on_trial_result(self, reporting, result)
        if decision == TrialScheduler.PAUSE:
            reporting.status = Trial.PAUSED
        elif decision == TrialScheduler.STOP or is_last:
            reporting.status = Trial.TERMINATED
        return bool(decision == TrialScheduler.CONTINUE)

    def stop_trial(self, trial: _Trial) -> None:
        trial.status = Trial.TERMINATED
        self._scheduler.on_trial_remove(self, trial)


def _domain(s: dict[str, Any]) -> Any:
    if s["type"] == "cat":
        return tune.choice(s["choices"])
    if s["type"] == "int":  # the upper end of Ray's integers is exclusive
        return (tune.lograndint if s.get("log") else tune.randint)(s["low"], s["high"] + 1)
    return (tune.loguniform if s.get("log") else tune.uniform)(s["low"], s["high"])


open_tool = RayTool
