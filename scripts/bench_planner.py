#!/usr/bin/env python3
"""Measures what the planner itself costs: a large simulated ASHA study, wave by wave, as a Markdown table.

    scripts/bench_planner.py --gpus 10000 --trials 100000

The time is that of one decision: observing the history, ranking the rungs, and drawing and rendering the assignments.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from hposlurm.simulation import Cluster, Row, simulate
from hposlurm.spec import parse

STEPS = (3, 9, 27)


def train(params: dict[str, Any], from_step: int, to_step: int | None) -> Iterator[Row]:
    """A report at each rung; a step takes one second or two."""
    for step in STEPS:
        if from_step < step <= (to_step or STEPS[-1]):
            loss = (params["x"] - 0.3) ** 2 + params["y"] / step
            yield Row(step, {"loss": loss}, (step - from_step) * (1 + params["y"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpus", type=int, default=10_000)
    parser.add_argument("--trials", type=int, default=100_000)
    given = parser.parse_args()
    data = {
        "name": "scale",
        "objectives": [{"name": "loss"}],
        "parameters": {name: {"type": "float", "min": 0.0, "max": 1.0} for name in "xy"},
        "search": {"algorithm": "asha", "min_resource": STEPS[0], "max_resource": STEPS[-1]},
        "budget": {"n_trials": given.trials},
        "trial": {"command": "true {{ x }} {{ y }}"},
        "resources": {"gpus_per_node": 1, "time": "1d"},
    }
    found = simulate(parse(data, "scale"), train, Cluster(gpus=given.gpus), mode="barrier", keep_journals=False)
    print("| trials before | assignments | seconds | ms per assignment |\n|---|---|---|---|")
    for decision in found.decisions:
        each = 1000 * decision.seconds / max(1, decision.assignments)
        print(f"| {decision.trials} | {decision.assignments} | {decision.seconds:.2f} | {each:.2f} |")


if __name__ == "__main__":
    main()
