#!/usr/bin/env python3
"""Measures what the planner itself costs in a large study of ASHA, and how that grows with the history.

    experiments/planner-scale/bench_planner.py --gpus 10000 --trials 100000 [--plot growth.svg]

Studies of growing size run on a simulated cluster, which is not timed. Then a budget that was raised makes the planner
decide once more, about one assignment and about one for every GPU, from a history that it sees for the first time, as
the planner's job does: observing it, ranking the rungs, drawing and rendering the assignments. `reading` is what it
costs to read such a history from its directory (of studies up to --read trials). All times are CPU seconds.
"""

from __future__ import annotations

import argparse
import math
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hposlurm.decisions import WarmStart
from hposlurm.planner.decide import next_plan
from hposlurm.records.history import History, read_history
from hposlurm.records.layout import StudyLayout
from hposlurm.simulation import Cluster, Row, simulate, write_study
from hposlurm.spec import StudySpec, parse

STEPS = (3, 9, 27)
NAMES = ("one assignment", "one per GPU", "reading")


def train(params: dict[str, Any], from_step: int, to_step: int | None) -> Iterator[Row]:
    """A report at each rung; a step takes one second or two."""
    for step in STEPS:
        if from_step < step <= (to_step or STEPS[-1]):
            loss = (params["x"] - 0.3) ** 2 + params["y"] / step
            yield Row(step, {"loss": loss}, (step - from_step) * (1 + params["y"]))


def study(gpus: int, trials: int) -> StudySpec:
    data = {
        "name": "scale",
        "backend": "simulated",
        "simulation": {"function": "bench_planner.py:train", "gpus": gpus},
        "objectives": [{"name": "loss"}],
        "parameters": {name: {"type": "float", "min": 0.0, "max": 1.0} for name in "xy"},
        "search": {"algorithm": "asha", "min_resource": STEPS[0], "max_resource": STEPS[-1]},
        "budget": {"n_trials": trials},
        "waves": {"mode": "barrier"},
        "trial": {"command": "true {{ x }} {{ y }}"},
        "resources": {"gpus_per_node": 1, "time": "1d"},
    }
    return parse(data, "scale")


def measure(gpus: int, trials: int, read: int) -> dict[str, float]:
    """CPU seconds by the names above, of a study with so many trials."""
    with tempfile.TemporaryDirectory() as place:
        layout = StudyLayout(Path(place) / "scale")
        found = simulate(study(gpus, trials), train, Cluster(gpus=gpus), layout=layout, keep_journals=trials <= read)
        history = Path(place) / "history"
        history.write_bytes(pickle.dumps((layout, gpus, found.history.plans, found.history.trials)))
        times = {"one assignment": in_a_new_process(history, 1), "one per GPU": in_a_new_process(history, gpus)}
        if trials <= read:
            write_study(found, WarmStart())
            layout.database.unlink()
            times["reading"] = cpu_s(lambda: read_history(layout))
        return times


def in_a_new_process(history: Path, size: int) -> float:
    """The best of three, each as the planner's job is one: nothing of the history was seen before."""
    command = [sys.executable, __file__, "--decide", str(history), str(size)]
    return min(float(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout) for _ in range(3))


def decide(history: Path, size: int) -> float:
    """CPU seconds of the next decision about `size` assignments."""
    layout, gpus, plans, trials = pickle.loads(history.read_bytes())
    spec = study(gpus, len(trials) + 10 * gpus)
    spec = spec.model_copy(update={"waves": spec.waves.model_copy(update={"size": size})})
    seen = History(plans, trials)
    return cpu_s(lambda: next_plan(layout, spec, seen, (), wave_size=size, gpus=1, now=plans[-1].created_at))


def cpu_s(function: Callable[[], object]) -> float:
    begun = time.thread_time()
    function()
    return time.thread_time() - begun


def exponent(points: Sequence[tuple[int, float]]) -> float:
    """The k of the n^k that fits best, in the logarithms."""
    logs = [(math.log(n), math.log(seconds)) for n, seconds in points]
    mean_n, mean_s = (sum(column) / len(logs) for column in zip(*logs, strict=True))
    return sum((n - mean_n) * (s - mean_s) for n, s in logs) / sum((n - mean_n) ** 2 for n, _ in logs)


def plot(found: Mapping[int, Mapping[str, float]], gpus: int, path: Path) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "hposlurm"  # the same picture, the same bytes
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    for name in NAMES:
        points = [(n, times[name]) for n, times in found.items() if name in times]
        if len(points) > 1:
            axes.plot(*zip(*points, strict=True), "o-", label=f"{name}: n^{exponent(points):.2f}")
    first, last = min(found), max(found)
    begin = found[first]["one assignment"]
    axes.plot([first, last], [begin, begin * last / first], ":", color="grey", label="n")
    axes.set(xscale="log", yscale="log", xlabel="trials in the history", ylabel="planner, CPU seconds")
    axes.set_title(f"one decision of ASHA, {gpus:,} GPUs")
    axes.legend()
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpus", type=int, default=10_000)
    parser.add_argument("--trials", type=int, default=100_000, help="of the largest study")
    parser.add_argument("--read", type=int, default=0, metavar="TRIALS", help="read studies up to this size as well")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="needs matplotlib (the extra `report`)")
    parser.add_argument("--decide", nargs=2, metavar=("HISTORY", "SIZE"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.decide:
        print(decide(Path(given.decide[0]), int(given.decide[1])))
        return
    sizes = [n for n in (1_000, 3_000, 10_000, 30_000, 100_000, 300_000) if n < given.trials] + [given.trials]
    found: dict[int, dict[str, float]] = {}
    print(f"| trials | {' | '.join(NAMES)} |\n|---|{'---|' * len(NAMES)}")
    for trials in sizes:
        times = found[trials] = measure(given.gpus, trials, given.read)
        cells = (f"{times[name]:.3f}" if name in times else "–" for name in NAMES)
        print(f"| {trials} | {' | '.join(cells)} |", flush=True)
    for name in NAMES:
        points = [(n, times[name]) for n, times in found.items() if name in times]
        if len(points) > 1:
            print(f"{name}: grows like n^{exponent(points):.2f}")
    if given.plot:
        plot(found, given.gpus, given.plot)


if __name__ == "__main__":
    main()
