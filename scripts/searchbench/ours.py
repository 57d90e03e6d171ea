"""This project's algorithms, by the product's own planner on the simulated backend."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hposlurm.simulation import Cluster, Row, simulate
from hposlurm.spec import StudySpec, parse
from hposlurm.trial import TrialState
from searchbench.clock import Course
from searchbench.tasks import Task

TRAINED_FULLY = ("grid", "random", "qmc", "tpe", "cmaes", "gp", "nsga2", "nsga3")
_ANY_NUMBER = 1_000_000


def course(task: Task, algorithm: str, workers: int, setting: dict[str, Any], until_s: float) -> Course:
    """One study that ends at `until_s`. "tpe+barrier": the algorithm in another mode than refill."""

    def train(
        params: dict[str, Any], from_step: int, to_step: int | None
    ) -> Iterator[tuple[int, dict[str, float], float]]:
        losses, seconds = task.curve(params)
        before = seconds[from_step - 1] if from_step else 0.0
        for step in range(from_step + 1, min(to_step or task.max_step, task.max_step) + 1):
            yield Row(step, {"loss": float(losses[step - 1])}, float(seconds[step - 1] - before))

    algorithm, _, mode = algorithm.partition("+")
    study = _study(task, algorithm, setting)
    found = simulate(study, train, Cluster(gpus=workers), mode=mode or "refill", until_s=until_s, keep_journals=False)
    result = Course(found.incumbents())
    for trial in found.history.trials:
        if trial.reports and trial.state is not TrialState.RUNNING:
            result.ended_at[trial.reports[-1].step] += 1
    return result


def _study(task: Task, algorithm: str, setting: dict[str, Any]) -> StudySpec:
    search: dict[str, Any] = {"algorithm": algorithm, "seed": setting["seed"]}
    if algorithm not in TRAINED_FULLY:
        search |= {
            "min_resource": setting["min_step"],
            "max_resource": task.max_step,
            "reduction_factor": setting["factor"],
        }
    data = {
        "name": "bench",
        "objectives": [{"name": "loss"}],
        "parameters": {s["name"]: _parameter(s) for s in task.space},
        "search": search,
        "budget": {"n_trials": _ANY_NUMBER},
        "trial": {"command": "true " + " ".join(f"{{{{ {s['name']} }}}}" for s in task.space)},
        "resources": {"gpus_per_node": 1, "time": "30d"},
    }
    return parse(data, "bench")


def _parameter(s: dict[str, Any]) -> dict[str, Any]:
    if s["type"] == "cat":
        return {"type": "categorical", "choices": s["choices"]}
    return {"type": s["type"], "min": s["low"], "max": s["high"], "log": s.get("log", False)}
