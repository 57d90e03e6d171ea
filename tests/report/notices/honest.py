"""Studies whose results are as they should be, and the notices on any simulated study."""

from __future__ import annotations

import math
import random
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hposlurm.records.layout import StudyLayout
from hposlurm.report.notices import Notice, notices
from hposlurm.report.records import StudyRecords
from hposlurm.simulation import Cluster, simulate
from hposlurm.spec import StudySpec, parse

STEPS = 9
Train = Callable[..., Iterator[tuple[int, dict[str, float], float]]]

PARAMETERS: dict[str, Any] = {
    "lr": {"type": "float", "min": 1e-6, "max": 1e-2, "log": True},
    "wd": {"type": "float", "min": 0.0, "max": 0.3},
    "bs": {"type": "categorical", "choices": [8, 16, 32, 64]},
    "optimizer": {"type": "categorical", "choices": ["adamw", "sgd"]},
}
GRID: dict[str, Any] = {
    "lr": {"type": "categorical", "choices": [1e-5, 1e-4, 1e-3]},
    "wd": {"type": "categorical", "choices": [0.0, 0.1]},
    "bs": {"type": "categorical", "choices": [8, 16, 32]},
}


def study(n_trials: int | None = 24, parameters: dict[str, Any] = PARAMETERS, **sections: Any) -> StudySpec:
    data: dict[str, Any] = {
        "name": "honest",
        "objectives": [{"name": "eval_loss"}],
        "parameters": parameters,
        "search": {"algorithm": "random", "seed": 1},
        "budget": {} if n_trials is None else {"n_trials": n_trials},
        "trial": {"command": "true {{ flags }}"},
        "resources": {"gpus_per_node": 1, "time": "1:00:00"},
    }
    for name, section in sections.items():
        data[name] = {**data[name], **section} if isinstance(data.get(name), dict) else section
    return parse(data, "test")


def surface(seed: int, noise: float = 0.01) -> Train:
    """A training whose loss has its optimum inside of the space, at a place of its own for each seed, and noise."""
    draw = random.Random(seed)
    best_lr, best_wd = draw.uniform(-4.6, -3.4), draw.uniform(0.08, 0.22)
    weight_wd, weight_bs, weight_sgd = draw.uniform(0.5, 3), draw.uniform(0.01, 0.1), draw.uniform(0.02, 0.2)

    def train(params: dict[str, Any], from_step: int, to_step: int | None) -> Iterator[tuple[int, dict, float]]:
        lost = 0.1 * (math.log10(params["lr"]) - best_lr) ** 2 + weight_wd * (params["wd"] - best_wd) ** 2
        lost += weight_bs * abs(math.log2(params["bs"]) - 4) + weight_sgd * (params.get("optimizer") == "sgd")
        own = random.Random(zlib.crc32(repr((seed, sorted(params.items()))).encode()))
        for step in range(from_step + 1, (to_step or STEPS) + 1):
            yield step, {"eval_loss": 0.8 + lost + 1 / step + noise * own.gauss(0, 1)}, 240.0 * (step - from_step)

    return train


def noticed(spec: StudySpec, train: Train, where: Path = Path("/nowhere/honest")) -> tuple[Notice, ...]:
    """The notices on the study, simulated."""
    found = simulate(spec, train, Cluster(gpus=4, seed=1), mode="barrier")
    return notices(StudyRecords(StudyLayout(where), spec, found.history))


def kinds(spec: StudySpec, train: Train) -> list[str]:
    return [notice.kind for notice in noticed(spec, train)]
