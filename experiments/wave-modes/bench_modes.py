#!/usr/bin/env python3
"""Measures on the Slurm that SLURM_CONF names what share of its GPUs' time a study trains, in each of waves.mode.

    eval "$(sudo scripts/slurm-cluster up)"; experiments/wave-modes/bench_modes.py --trials 96 --seconds 30

A trial sleeps between once and twice --seconds, on one GPU; TPE proposes them, as many at once as there are slots: all
GPUs of the partition, so that the cluster itself limits what runs, or --slots of them by waves.max_concurrent. (A
refill wave has its max_concurrent in both cases.) Two shares are printed as a Markdown table: until the last trial has
started, and over everything, from the first start to the last end. What idles in between is Slurm, the planner, and
waiting for the slowest trial of a wave.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import yaml

from hposlurm.backend import cluster_facts, queries
from hposlurm.records.history import read_history
from hposlurm.records.layout import StudyLayout

Spans = Sequence[tuple[float, float]]


def gpus_of_partition() -> int:
    """How many GPUs the default partition has."""
    nodes = cluster_facts.parse_sinfo(queries.ask("sinfo", "-h", "-N", "-o", "%P|%N|%c|%m|%G|%l"))
    return sum(sum(node.gpus.values()) for node in nodes if node.is_default)


def study(mode: str, trials: int, slots: int, seconds: float, *, is_capped: bool = True) -> dict[str, object]:
    """`is_capped`: waves.max_concurrent keeps it to the slots, else nothing but the cluster's GPUs does."""
    waves = {} if mode == "refill" else {"size": slots}
    cap = {"max_concurrent": slots} if is_capped or mode == "refill" else {}
    return {
        "name": f"share-{mode}",
        "objectives": [{"name": "loss"}],
        "parameters": {
            "y": {"type": "float", "min": 0.0, "max": 1.0},
            "pause": {"type": "float", "min": seconds, "max": 2 * seconds},
        },
        "search": {"algorithm": "tpe", "seed": 0},
        "budget": {"n_trials": trials},
        "waves": {"mode": mode, **waves, **cap},
        "trial": {"command": "sleep {{ pause }}; echo loss={{ y }}", "metric_pattern": r"loss=(?P<loss>\S+)"},
        "resources": {"gpus_per_node": 1, "time": "00:10:00"},
    }


def share(spans: Spans, slots: int, until: float) -> float:
    """Of the time of `slots` GPUs from the first start to `until`, what lies in the spans (start, end)."""
    begun = min(start for start, _ in spans)
    return sum(max(0.0, min(end, until) - start) for start, end in spans) / (slots * (until - begun))


def spans_of(directory: Path) -> list[tuple[float, float]]:
    trials = read_history(StudyLayout(directory)).trials
    attempts = [attempt for trial in trials for attempt in trial.attempts]
    return [(attempt.started_at, attempt.ended_at) for attempt in attempts if attempt.ended_at is not None]


def run(mode: str, slots: int, options: argparse.Namespace, runs: Path) -> Spans:
    file = runs / f"{mode}.yaml"
    asked = study(mode, options.trials, slots, options.seconds, is_capped=options.slots is not None)
    file.write_text(yaml.safe_dump(asked))
    command = [sys.executable, "-m", "hposlurm", "launch", str(file), "--backend", "slurm", "--wait", "--yes"]
    subprocess.run(command, check=True, cwd=runs, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return spans_of(runs / "runs" / f"share-{mode}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--modes", nargs="+", choices=["barrier", "overlap", "refill"], default=None)
    parser.add_argument("--trials", type=int, default=48)
    parser.add_argument("--slots", type=int, default=None, help="GPUs to use at most (default: the whole partition)")
    parser.add_argument("--seconds", type=float, default=10.0, help="the shortest trial; the longest takes twice that")
    options = parser.parse_args()
    slots = gpus_of_partition() if options.slots is None else options.slots
    limit = f"{slots} GPUs of the partition" if options.slots is None else f"max_concurrent: {slots}"
    print(f"{limit}, trials of {options.seconds:g} to {2 * options.seconds:g} s\n")
    print("| mode | trials | until the last one started | overall | wall time |\n|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory(prefix="hposlurm-modes-") as folder:
        for mode in options.modes or ["barrier", "overlap", "refill"]:
            spans = run(mode, slots, options, Path(folder))
            last, end = max(start for start, _ in spans), max(end for _, end in spans)
            wall = f"{end - min(start for start, _ in spans):.0f} s"
            early, whole = (share(spans, slots, until) for until in (last, end))
            print(f"| {mode} | {len(spans)} | {early:.3f} | {whole:.3f} | {wall} |", flush=True)


if __name__ == "__main__":
    main()
