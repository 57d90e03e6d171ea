"""NePS: ASHA and Hyperband, by its AskAndTell.

A promoted trial goes on from where its rung ended. NePS's ASHA promotes trials that still run, too, when few have
ended: such a one has no checkpoint to start from and is trained from the beginning, at the same time.
"""

from __future__ import annotations

import logging
import random
from typing import Any

import neps
import numpy as np
import torch


class NepsTool:
    def __init__(self, setting: dict[str, Any]) -> None:
        logging.getLogger("neps").setLevel(logging.ERROR)
        for seed in (random.seed, np.random.seed, torch.manual_seed):
            seed(setting["seed"])
        fields = {s["name"]: _domain(s) for s in setting["space"]}
        self._step = "trained_steps"
        fields[self._step] = neps.IntegerFidelity(lower=setting["min_step"], upper=setting["max_step"])
        space = type("Space", (neps.PipelineSpace,), fields)()
        algorithm = getattr(neps.algorithms, setting["algorithm"].removeprefix("neps-"))
        self._optimizer = neps.AskAndTell(algorithm(space, eta=setting["factor"]))
        self._running: dict[str, Any] = {}
        self._trials: dict[str, str] = {}  # by the id that NePS has for a trial at a rung

    def ask(self) -> dict[str, Any]:
        asked = self._optimizer.ask()
        params = dict(asked.config)
        to_step = params.pop(self._step)
        before = asked.metadata.previous_trial_id
        trial = asked.id if before is None or self._trials[before] in self._running else self._trials[before]
        self._trials[asked.id] = trial
        self._running[trial] = asked
        return {"trial": trial, "params": params, "to_step": int(to_step)}

    def report(self, trial: str, _step: int, loss: float, is_last: bool) -> bool:
        if is_last:
            self._optimizer.tell(self._running.pop(trial), loss)
        return not is_last


def _domain(s: dict[str, Any]) -> Any:
    if s["type"] == "cat":
        return neps.Categorical(choices=tuple(s["choices"]))
    number = neps.Integer if s["type"] == "int" else neps.Float
    return number(lower=s["low"], upper=s["high"], log=s.get("log", False))


open_tool = NepsTool
