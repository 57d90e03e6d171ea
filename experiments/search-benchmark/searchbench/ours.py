"""This project's algorithms, by the product's own planner on the simulated backend."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hposlurm.simulation import Cluster, Row, simulate
from hposlurm.spec import StudySpec, parse
from hposlurm.spec.algorithms import sampler_names
from hposlurm.trial import TrialState
from searchbench.clock import Course
from searchbench.tasks import Task

TRAINED_FULLY = sampler_names()
_ANY_NUMBER = 1_000_000


def course(task: Task, algorithm: str, setting: dict[str, Any], until_s: float) -> Course:
    """One study that ends at `until_s`. "tpe+barrier": the algorithm in another mode than refill."""

    def train(params: dict[str, Any], from_step: int, to_step: int | None, checkpoint: Any = None) -> Iterator[Row]:
        took, state = 0.0, checkpoint
        for step in range(from_step + 1, min(to_step or task.max_step, task.max_step) + 1):
            loss, seconds, state = task.advance(params, state)
            took += seconds
            yield Row(step, {"loss": loss}, took, state)

    algorithm, _, mode = algorithm.partition("+")
    study = _study(task, algorithm, setting)
    mode = mode or ("barrier" if algorithm == "pbt" else "refill")
    found = simulate(study, train, Cluster(gpus=setting["workers"]), mode=mode, until_s=until_s, keep_journals=False)
    result = Course(found.incumbents())
    for trial in found.history.trials:
        if trial.reports and trial.state is not TrialState.RUNNING:
            result.ended_at[trial.reports[-1].step] += 1
    return result


def _study(task: Task, algorithm: str, setting: dict[str, Any]) -> StudySpec:
    search: dict[str, Any] = {"algorithm": algorithm, "seed": setting["seed"]}
    if algorithm == "pbt":
        search |= {
            "population_size": setting["workers"],
            "perturbation_interval": setting["min_step"],
            "max_resource": task.max_step,
        }
    elif algorithm == "median":
        search |= {"warmup_steps": setting["min_step"]}
    elif algorithm not in TRAINED_FULLY:
        search |= {
            "min_resource": setting["min_step"],
            "max_resource": task.max_step,
            "reduction_factor": setting["factor"],
        }
    data = {
        "name": "bench",
        "objectives": [{"name": "loss", "report": "last"}],
        "parameters": {s["name"]: _parameter(s, algorithm) for s in task.space},
        "search": search,
        "budget": {"n_trials": _ANY_NUMBER},
        "trial": {"command": "true " + " ".join(f"{{{{ {s['name']} }}}}" for s in task.space)},
        "resources": {"gpus_per_node": 1, "time": "30d"},
    }
    return parse(data, "bench")


def _parameter(s: dict[str, Any], algorithm: str) -> dict[str, Any]:
    mutable = {"mutable": True} if algorithm == "pbt" else {}
    if s["type"] == "cat":
        return {"type": "categorical", "choices": s["choices"], **mutable}
    return {"type": s["type"], "min": s["low"], "max": s["high"], "log": s.get("log", False), **mutable}
