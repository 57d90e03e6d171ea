#!/usr/bin/env python3
"""Measures the verbs that read a study in which one trial has reported very often.

    experiments/many-reports/bench_reports.py --reports 1000000

Each verb is a process of its own, as on a command line; prints its seconds of CPU, its wall time and its largest
resident set. The first `status` and `resume` (a planner step, since nothing is left to train) have no study.db yet and
read the whole journal, as `rebuild` does.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from hposlurm.records.assignment import Assignment
from hposlurm.records.layout import StudyLayout
from hposlurm.records.plan import WavePlan, record_plan

BEGIN = 1_700_000_000.0
SPEC = """\
name: many
backend: local
objectives: [{name: eval_loss, direction: minimize}]
parameters: {lr: {type: float, min: 1.0e-6, max: 1.0, log: true}}
search: {algorithm: random, seed: 1}
budget: {n_trials: 1}
trial: {command: "true {{ lr }}"}
"""


def make_study(root: Path, reports: int) -> StudyLayout:
    layout = StudyLayout(root / "many")
    layout.root.mkdir()
    layout.spec().write_text(SPEC)
    assignment = Assignment(0, {"lr": 0.1}, "00000000", seed=0, command="true 0.1")
    plan = WavePlan(0, "many", BEGIN, "study.yaml", 1, ("eval_loss",), "/tmp", assignments=(assignment,))
    record_plan(layout.wave(0), plan)
    path = layout.trial(0).journal(0)
    path.parent.mkdir(parents=True)
    with path.open("w") as file:
        start = {"kind": "start", "t": BEGIN, "wave": 0, "index": 0, "host": "n1", "job_id": "1_0", "gpus": 1}
        file.write(f"{json.dumps(start, separators=(',', ':'))}\n")
        file.writelines(
            f'{{"kind":"report","t":{BEGIN + step / 100},"step":{step},"metrics":{{"eval_loss":{1 / (step + 1)}}}}}\n'
            for step in range(reports)
        )
        end = {"kind": "end", "t": BEGIN + reports, "outcome": "complete", "metrics": {"eval_loss": 1 / reports}}
        file.write(f"{json.dumps(end, separators=(',', ':'))}\n")
    return layout


def measured(layout: StudyLayout, verb: str) -> str:
    """Returns the row of the table for one verb."""
    begun = time.monotonic()
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.execv(sys.executable, [sys.executable, "-m", "hposlurm", verb, str(layout.root)])
    _, status, used = os.wait4(child, 0)
    wall, cpu = time.monotonic() - begun, used.ru_utime + used.ru_stime
    return f"| `{verb}` | {os.waitstatus_to_exitcode(status)} | {cpu:.2f} | {wall:.2f} | {used.ru_maxrss / 1024:.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reports", type=int, default=1_000_000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        layout = make_study(Path(directory), args.reports)
        print("| verb | exit status | CPU (s) | wall (s) | memory (MB) |\n|---|---|---|---|---|")
        for verb in ("status", "resume", "rebuild", "status", "collect"):
            print(measured(layout, verb), flush=True)


if __name__ == "__main__":
    main()
