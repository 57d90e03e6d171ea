"""Small studies for the simulation: a step trains for a second or two, and the loss falls towards a known end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hposlurm.spec import StudySpec, parse

STEPS = 9


def study(n_trials: int | None = 12, **sections: Any) -> StudySpec:
    data: dict[str, Any] = {
        "name": "virtual",
        "objectives": [{"name": "loss"}],
        "parameters": {"x": {"type": "float", "min": 0.0, "max": 1.0}, "y": {"type": "float", "min": 0.0, "max": 1.0}},
        "search": {"algorithm": "random", "seed": 3},
        "budget": {} if n_trials is None else {"n_trials": n_trials},
        "trial": {"command": "true {{ x }} {{ y }}"},
        "resources": {"gpus_per_node": 1, "time": "10:00:00"},
    }
    for name, section in sections.items():
        data[name] = {**data[name], **section} if isinstance(data.get(name), dict) else section
    return parse(data, "test")


def train(params: dict[str, Any], from_step: int, to_step: int | None) -> Iterator[tuple[int, dict[str, float], float]]:
    """A step takes 1 to 2 seconds, depending on y."""
    for step in range(from_step + 1, (to_step or STEPS) + 1):
        yield step, {"loss": (params["x"] - 0.3) ** 2 + 1 / step}, (step - from_step) * (1 + params["y"])
