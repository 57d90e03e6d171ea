"""What is searched: learning curves of a surrogate in a folder that is given, and made-up ones that need no data.

NumPy and the standard library only: other tools' environments import this as well.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

Params = Mapping[str, Any]
Curve = tuple[np.ndarray, np.ndarray]  # the loss and the cumulative seconds at the end of each step
#: The loss after one more step, its seconds, and what the next step goes on from.
Advance = Callable[[Params, Any], tuple[float, float, Any]]
SYNTHETIC = ("noisy", "wide", "conditional", "discrete", "misleading", "schedule")
_REFERENCE = 4000  # random configurations that make the yardstick


@dataclass
class Task:
    """A space, and the learning curve of each of its points. `space` has name, type, low, high, log or choices.

    `memory` is for a task where a trial may go on with other parameters than it has begun with: one step of training,
    from the state that the last one left (None: from the beginning).
    """

    name: str
    space: list[dict[str, Any]]
    max_step: int
    curve: Callable[[Params], Curve]
    best_known: float | None = None
    memory: Advance | None = None
    _scale: tuple[float, float, float, float] | None = field(default=None, repr=False)

    def sample(self, rng: np.random.Generator) -> dict[str, Any]:
        return {s["name"]: _draw(s, rng) for s in self.space}

    def advance(self, params: Params, state: Any) -> tuple[float, float, Any]:
        """The loss after one more step, its seconds, and the state that the next one goes on from."""
        if self.memory is not None:
            return self.memory(params, state)
        losses, seconds = self.curve(params)
        done = state or 0
        return float(losses[done]), float(seconds[done] - (seconds[done - 1] if done else 0.0)), done + 1

    @property
    def scale(self) -> tuple[float, float, float, float]:
        """The lowest loss known, the median and the best of random points, and a full training's mean seconds."""
        if self._scale is None:
            rng = np.random.default_rng(0)
            curves = [self.curve(self.sample(rng)) for _ in range(_REFERENCE)]
            last = np.array([losses[-1] for losses, _ in curves])
            seconds = float(np.mean([seconds[-1] for _, seconds in curves]))
            lowest = float(last.min()) if self.best_known is None else self.best_known
            self._scale = lowest, float(np.median(last)), float(last.min()), seconds
        return self._scale


def _draw(parameter: Mapping[str, Any], rng: np.random.Generator) -> Any:
    if parameter["type"] == "cat":
        return parameter["choices"][int(rng.integers(len(parameter["choices"])))]
    low, high = parameter["low"], parameter["high"]
    if parameter["type"] == "int":
        low, high = low - 0.5, high + 0.5
    log = parameter.get("log", False)
    value = math.exp(rng.uniform(math.log(low), math.log(high))) if log else rng.uniform(low, high)
    value = min(max(value, parameter["low"]), parameter["high"])
    return round(value) if parameter["type"] == "int" else float(value)


def load_task(name: str, curves: Path | None) -> Task:
    """The synthetic task of that name, else the LCBench task of that number in `curves`."""
    if name in SYNTHETIC:
        return _synthetic(name)
    if curves is None:
        raise SystemExit(f"task {name} is one of LCBench's: say with --curves where the surrogate lies")
    spec = importlib.util.spec_from_file_location("hpo_curves", curves / "hpo_curves.py")
    if spec is None or spec.loader is None or not (curves / "hpo_curves.py").is_file():
        raise SystemExit(f"{curves} has no hpo_curves.py; --curves names the folder of the surrogate")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = module.load("lcbench", name)
    names = [s["name"] for s in found.space]
    task = Task(name, found.space, found.max_epoch, lambda params: found.curve({n: params[n] for n in names}))
    task.best_known = _lowest(task)
    return task


def _lowest(task: Task, rounds: int = 12) -> float:
    """The lowest final loss that a local search from random points and corners finds; the same every time."""
    rng = np.random.default_rng(1)
    pool = [task.sample(rng) for _ in range(1500)]
    for _ in range(600):
        point = task.sample(rng)
        corner = {s["name"]: s["low"] if rng.random() < 0.5 else s["high"] for s in task.space}
        pool.append({name: corner[name] if rng.random() < 0.8 else point[name] for name in point})
    best = sorted(pool, key=lambda p: task.curve(p)[0][-1])[:20]
    for _ in range(rounds):
        best += [_mutated(task, point, rng) for point in best for _ in range(12)]
        best = sorted(best, key=lambda p: task.curve(p)[0][-1])[:20]
    return float(task.curve(best[0])[0][-1])


def _mutated(task: Task, point: Params, rng: np.random.Generator) -> dict[str, Any]:
    mutant = dict(point)
    for s in task.space:
        if rng.random() < 0.4:
            low, high = s["low"], s["high"]
            value = low if rng.random() < 0.5 else high
            if rng.random() > 0.3:
                span = math.log(high / low) if s["log"] else high - low
                step = rng.normal() * 0.1 * span
                value = point[s["name"]] * math.exp(step) if s["log"] else point[s["name"]] + step
            value = min(max(value, low), high)
            mutant[s["name"]] = round(value) if s["type"] == "int" else float(value)
    return mutant


def _synthetic(name: str) -> Task:
    if name == "schedule":
        return _schedule()
    spaces: dict[str, list[dict[str, Any]]] = {
        "noisy": [_float(f"x{i}") for i in range(5)],
        "wide": [_float(f"x{i}") for i in range(20)],
        "conditional": [
            {"name": "kind", "type": "cat", "choices": ["a", "b", "c"]},
            *[_float(f"x{i}") for i in range(4)],
        ],
        "discrete": [{"name": f"k{i}", "type": "cat", "choices": [0, 1, 2, 3]} for i in range(4)],
        "misleading": [_float(f"x{i}") for i in range(5)],
    }  # fmt: skip
    return Task(name, spaces[name], 27, lambda params: _curve(name, params), best_known=0.0)


def _float(name: str) -> dict[str, Any]:
    return {"name": name, "type": "float", "low": 0.0, "high": 1.0, "log": False}


def _position(value: object) -> float:
    """A value between 0 and 1."""
    if isinstance(value, float):
        return value
    return "abc".index(value) / 2 if isinstance(value, str) else float(value) / 3  # type: ignore[arg-type]


def _curve(name: str, params: Params) -> Curve:
    """A loss that falls from a start to its end; "misleading": where it starts says nothing about where it ends."""
    values = [
        v if isinstance(v, float) else "abc".index(v) / 2 if isinstance(v, str) else v / 3 for v in params.values()
    ]
    used = [v for i, v in enumerate(values) if name != "conditional" or i != 1 + (values[0] > 0.4)]
    end = sum((v - (0.2 + 0.6 * ((7 * i) % 10) / 10)) ** 2 * (1 if i < 6 else 0.2) for i, v in enumerate(used))
    rng = np.random.default_rng(
        int(hashlib.sha256(json.dumps([name, params], sort_keys=True).encode()).hexdigest()[:8], 16)
    )
    steps = np.arange(1, 28)
    spread = rng.uniform(0, 3) if name == "misleading" else 0.3 + 0.3 * values[-1]
    noise = 0.03 if name == "noisy" else 0.0
    losses = end + spread * (steps**-0.7 - 27**-0.7) + noise * rng.normal(size=27)
    return losses, steps * 10.0 * (1 + values[0])


def _schedule() -> Task:
    """Stochastic gradient descent on a quadratic, as the mean over its noise. Flat directions need a high learning rate
    and steep ones a low one in the end: the best constant has a regret of .2, a good schedule one of .05."""
    space = [{"name": "lr", "type": "float", "low": 1e-3, "high": 1.9, "log": True}]
    curvature = np.array([1.0, 0.3, 0.1, 0.03, 0.01])
    steps, updates, noise = 30, 10, 0.1

    def advance(params: Params, state: Any) -> tuple[float, float, Any]:
        lr = params["lr"]
        squares = np.ones(len(curvature)) if state is None else state
        for _ in range(updates):
            squares = (1.0 - lr * curvature) ** 2 * squares + lr**2 * noise * curvature
        return float(curvature @ squares) / 2, 1.0 + lr / 10, squares

    def curve(params: Params) -> Curve:
        rows, state = [], None
        for _ in range(steps):
            loss, seconds, state = advance(params, state)
            rows.append((loss, seconds))
        losses, each = np.array(rows).T
        return losses, np.cumsum(each)

    return Task("schedule", space, steps, curve, best_known=0.0, memory=advance)
