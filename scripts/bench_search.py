#!/usr/bin/env python3
"""Compares search algorithms in simulated time: regret against the wall time of 5, 12 and 25 full trainings.

    scripts/bench_search.py --curves DIR --tasks 126026 189906 168330 --seeds 20 --out bench.json
    scripts/bench_search.py --tasks noisy wide conditional discrete misleading

Without --curves only the synthetic tasks can be searched. Regret 1 is the median random configuration, 0 the best known
one; a study's is that of the lowest loss that it has seen so far. Our algorithms run by the product's own planner in
its simulation ("tpe+barrier": in another mode than refill); Optuna's are asked by the same clock.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from statistics import median

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
sys.path.insert(0, str(Path(__file__).resolve().parent))

from searchbench.tasks import SYNTHETIC, Task, load_task  # noqa: E402 - the path and the threads come first

POINTS = (5, 12, 25)
OURS = ("random", "tpe")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curves", type=Path, help="the folder of the LCBench surrogate (hpo_curves.py)")
    parser.add_argument("--tasks", nargs="+", default=list(SYNTHETIC), help="LCBench numbers or synthetic names")
    parser.add_argument("--algorithms", nargs="+", default=list(OURS), help="ours, or optuna-…")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--budget", type=float, default=25.0, help="mean full trainings per worker")
    parser.add_argument("--out", type=Path, help="results as JSON")
    given = parser.parse_args()
    rows = []
    for name in given.tasks:
        task = load_task(name, given.curves)
        for algorithm in given.algorithms:
            rows.append(measure(task, algorithm, given.workers, given.seeds, given.budget))
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
            if given.out:
                given.out.write_text(json.dumps(rows, indent=1) + "\n")
    print(table(rows))


def measure(task: Task, algorithm: str, workers: int, seeds: int, budget: float) -> dict[str, object]:
    """Medians over the seeds; `reaches_random` is when the best of 4,000 random configurations was reached."""
    lowest, middle, best_of_random, full_s = task.scale
    regrets: list[list[float]] = []
    reached: list[float] = []
    started = time.perf_counter()
    for seed in range(seeds):
        found = _incumbents(task, algorithm, workers, seed, budget * full_s)
        at = [min((loss for when, loss in found if when <= p * full_s), default=middle) for p in POINTS if p <= budget]
        regrets.append([max(0.0, (loss - lowest) / (middle - lowest)) for loss in at])
        reached.append(next((when / full_s for when, loss in found if loss <= best_of_random), float("inf")))
    reaches = median(reached)
    return {
        "task": task.name,
        "algorithm": algorithm,
        "workers": workers,
        "seeds": seeds,
        "regret": [round(median(column), 4) for column in zip(*regrets, strict=True)],
        "reaches_random": None if reaches == float("inf") else round(reaches, 2),
        "own_s": round((time.perf_counter() - started) / seeds, 2),
    }


def _incumbents(task: Task, algorithm: str, workers: int, seed: int, until_s: float) -> list[tuple[float, float]]:
    if algorithm.startswith("optuna-"):
        from searchbench import optuna_peer

        return optuna_peer.incumbents(task, algorithm, workers, seed, until_s)
    from searchbench import ours

    return ours.incumbents(task, algorithm, workers, seed, until_s)


def table(rows: list[dict[str, object]]) -> str:
    """The results as Markdown."""
    lines = [
        "| task | algorithm | workers | seeds | regret at 5/12/25 | best of 4,000 random after |",
        "|---" * 6 + "|",
    ]
    for row in rows:
        regret = "/".join(f"{value:.3f}" for value in row["regret"])  # type: ignore[attr-defined]
        cells = (row["task"], row["algorithm"], row["workers"], row["seeds"], regret, row["reaches_random"] or "–")
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
