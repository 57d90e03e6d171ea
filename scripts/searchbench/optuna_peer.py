"""Optuna's samplers and its SuccessiveHalvingPruner in the same virtual time, by ask, report and tell."""

from __future__ import annotations

import heapq
from typing import Any

import optuna

from searchbench.tasks import Task

NAMES = ("optuna-random", "optuna-random-sha", "optuna-tpe", "optuna-tpe-sha")


def incumbents(task: Task, name: str, workers: int, seed: int, until_s: float) -> list[tuple[float, float]]:
    """(virtual seconds, lowest loss so far); each worker asks when it is free and reports every step at its time."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler: Any = optuna.samplers.RandomSampler(seed=seed)
    if "tpe" in name:
        sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)
    pruner: Any = optuna.pruners.NopPruner()
    if name.endswith("-sha"):
        pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=3, reduction_factor=3)
    study = optuna.create_study(sampler=sampler, pruner=pruner)
    events: list[tuple[float, int, Any, Any, int, float]] = []
    for worker in range(workers):
        heapq.heappush(events, (0.0, worker, None, None, 0, 0.0))
    order, lowest, found = workers, float("inf"), []
    while events:
        time, _, trial, curve, step, begun = heapq.heappop(events)
        if time > until_s:
            break
        order += 1
        if trial is not None:
            loss = float(curve[0][step - 1])
            if loss < lowest:
                lowest = loss
                found.append((time, loss))
            trial.report(loss, step)
            is_pruned = step < task.max_step and trial.should_prune()
            if not is_pruned and step < task.max_step:
                heapq.heappush(events, (begun + curve[1][step], order, trial, curve, step + 1, begun))
                continue
            study.tell(trial, state=optuna.trial.TrialState.PRUNED) if is_pruned else study.tell(trial, loss)
        trial = study.ask()
        params = {s["name"]: _ask(trial, s) for s in task.space}
        curve = task.curve(params)
        heapq.heappush(events, (time + curve[1][0], order, trial, curve, 1, time))
    return found


def _ask(trial: Any, s: dict[str, Any]) -> Any:
    if s["type"] == "cat":
        return trial.suggest_categorical(s["name"], s["choices"])
    suggest = trial.suggest_int if s["type"] == "int" else trial.suggest_float
    return suggest(s["name"], s["low"], s["high"], log=s.get("log", False))
