"""Optuna: random and TPE, trained fully or stopped by one of its pruners: successive halving, Hyperband, median."""

from __future__ import annotations

from typing import Any

import optuna


class OptunaTool:
    def __init__(self, setting: dict[str, Any]) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        _, sampler, *stopping = setting["algorithm"].split("-")
        self._space = setting["space"]
        self._study = optuna.create_study(sampler=_sampler(sampler, setting), pruner=_pruner(stopping, setting))
        self._trials: dict[str, Any] = {}

    def ask(self) -> dict[str, Any]:
        trial = self._study.ask()
        self._trials[str(trial.number)] = trial
        return {"trial": str(trial.number), "params": {s["name"]: _suggested(trial, s) for s in self._space}}

    def report(self, trial: str, step: int, loss: float, is_last: bool) -> bool:
        asked = self._trials[trial]
        asked.report(loss, step)
        if is_last:
            self._study.tell(asked, loss)
        elif asked.should_prune():
            self._study.tell(asked, state=optuna.trial.TrialState.PRUNED)
        else:
            return True
        del self._trials[trial]
        return False


def _sampler(name: str, setting: dict[str, Any]) -> Any:
    if name == "random":
        return optuna.samplers.RandomSampler(seed=setting["seed"])
    return optuna.samplers.TPESampler(seed=setting["seed"], multivariate=True, group=True, constant_liar=True)


def _pruner(name: list[str], setting: dict[str, Any]) -> Any:
    common = {"min_resource": setting["min_step"], "reduction_factor": setting["factor"]}
    if name == ["sha"]:
        return optuna.pruners.SuccessiveHalvingPruner(**common)
    if name == ["hyperband"]:
        return optuna.pruners.HyperbandPruner(max_resource=setting["max_step"], **common)
    if name == ["median"]:
        return optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=setting["min_step"])
    return optuna.pruners.NopPruner()


def _suggested(trial: Any, s: dict[str, Any]) -> Any:
    if s["type"] == "cat":
        return trial.suggest_categorical(s["name"], s["choices"])
    suggest = trial.suggest_int if s["type"] == "int" else trial.suggest_float
    return suggest(s["name"], s["low"], s["high"], log=s.get("log", False))


open_tool = OptunaTool
