#!/usr/bin/env python3
"""Measures how long jobs of a refill wave take to bind their trials when many start at once, as a Markdown table.

    experiments/binding/bench_binding.py --earlier 1000 10000 --elements 64

bind: each element in a process that is up already, all of them let go at the same moment; from there to its claim.
cold: the same with an interpreter of its own, begun at once; from there to the last claim. Both share this machine's
cores, which elements on nodes of their own do not. proposed: how long it takes to have the next batch proposed, which
happens beside a trial that trains; an element waits for it only where nothing at all is left.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hposlurm.planner import create
from hposlurm.planner.decide import next_plan
from hposlurm.publish import Published, publish_files
from hposlurm.records import refill_pool
from hposlurm.records.assignment import Assignment, Settlement
from hposlurm.records.history import read_history
from hposlurm.records.layout import StudyLayout
from hposlurm.records.plan import WavePlan, read_plan, record_plan
from hposlurm.space import signature
from hposlurm.spec import StudySpec, parse
from hposlurm.trial import JobState
from hposlurm.worker.binding import find_assignment

PER_WAVE = 1000
REPORTS = 10


def study(algorithm: str, slots: int) -> StudySpec:
    return parse(
        {
            "name": "binding",
            "objectives": [{"name": "loss"}],
            "parameters": {name: {"type": "float", "min": 0.0, "max": 1.0} for name in "uvwxyz"},
            "search": {"algorithm": algorithm},
            "budget": {"n_trials": 100_000},
            "waves": {"mode": "refill", "max_concurrent": slots},
            "trial": {"command": "true {{ x }}", "workdir": "/"},
        },
        "binding",
    )


def lay(layout: StudyLayout, spec: StudySpec, earlier: int) -> None:
    """A study of which `earlier` trials are complete, in waves that are settled and published."""
    create(layout, spec)
    rng = random.Random(1)
    for wave, first in enumerate(range(0, earlier, PER_WAVE)):
        numbers = range(first, min(first + PER_WAVE, earlier))
        before = range(first - PER_WAVE, first) if wave else ()
        points = {number: {name: rng.random() for name in "uvwxyz"} for number in numbers}
        assignments = tuple(Assignment(n, points[n], signature(points[n]), n, "true") for n in numbers)
        settled = tuple(
            Settlement(n, 0, wave - 1, f"{wave}_{n - before[0]}", JobState.COMPLETED, 60.0, 1) for n in before
        )
        plan = WavePlan(wave, spec.name, 1.0 + wave, "study.yaml", 0, ("loss",), "/", gpus=1, assignments=assignments)
        record_plan(layout.wave(wave), replace(plan, settled=settled))
        for number in numbers:
            write_trial(layout, wave, number, number - first, points[number])
    publish_files(Published(layout, spec, read_history(layout)))


def write_trial(layout: StudyLayout, wave: int, number: int, index: int, point: dict[str, float]) -> None:
    trial = layout.trial(number)
    trial.root.mkdir(parents=True)
    loss = sum((value - 0.3) ** 2 for value in point.values())
    start = {"trial": number, "attempt": 0, "wave": wave, "index": index, "host": "n", "job_id": f"{wave + 1}_{index}"}
    records = [{"kind": "start", "t": 10.0, "gpus": 1, **start}]
    records += [
        {"kind": "report", "t": 11.0 + step, "step": step, "metrics": {"loss": loss + 1 / step}}
        for step in range(1, REPORTS + 1)
    ]
    records += [{"kind": "end", "t": 70.0, "outcome": "complete", "exit_code": 0, "metrics": {"loss": loss}}]
    trial.journal(0).write_text("".join(json.dumps(record) + "\n" for record in records))


def plan_wave(layout: StudyLayout, spec: StudySpec, slots: int) -> int:
    """Plans the next refill wave; its number."""
    history = read_history(layout)
    for plan in history.plans[-1:]:
        if plan.elements is not None:
            refill_pool.close(layout.wave(plan.wave), slots, time.time())
            history = read_history(layout)
    plan = next_plan(layout, spec, history, (), wave_size=slots, gpus=0, now=time.time())
    record_plan(layout.wave(plan.wave), plan)
    return plan.wave


def warm(layout: StudyLayout, wave: int, elements: int) -> list[tuple[float, float]]:
    """Seconds from the common start to each element's claim, in processes that are up; of the clock and of the CPU."""
    ready_r, ready_w = os.pipe()
    go_r, go_w = os.pipe()
    done_r, done_w = os.pipe()
    for element in range(elements):
        if os.fork() == 0:
            os.close(go_w)
            os.write(ready_w, b".")
            os.read(go_r, 1)  # ends when the last writer is gone
            begun, cpu_begun = time.monotonic(), time.process_time()
            find_assignment(layout, wave, element)
            took = f"{time.monotonic() - begun:.6f} {time.process_time() - cpu_begun:.6f}\n"
            os.write(done_w, took.encode())
            os._exit(0)
    for _ in range(elements):
        os.read(ready_r, 1)
    os.close(go_w)
    for _ in range(elements):
        os.wait()
    words = [float(word) for word in os.read(done_r, 100 * elements).split()]
    return list(zip(words[::2], words[1::2], strict=True))


def cold(layout: StudyLayout, wave: int, elements: int) -> float:
    """Seconds from the start of the first of as many interpreters to the last claim."""
    code = "import sys; from pathlib import Path; from hposlurm.records.layout import StudyLayout as S; "
    code += "from hposlurm.worker.binding import find_assignment as f; f(S(Path(sys.argv[1])), *map(int, sys.argv[2:]))"
    begun = time.monotonic()
    command = [sys.executable, "-P", "-c", code, str(layout.root), str(wave)]
    for process in [subprocess.Popen([*command, str(element)]) for element in range(elements)]:
        process.wait()
    return time.monotonic() - begun


def proposed(layout: StudyLayout, wave: int) -> float:
    begun = time.monotonic()
    subprocess.run([sys.executable, "-P", "-m", "hposlurm.refill", str(layout.root), str(wave)], check=True)
    return time.monotonic() - begun


def once_each(layout: StudyLayout, wave: int, elements: int) -> bool:
    took = refill_pool.takers(layout.wave(wave))
    return sorted(took.values()) == list(range(elements)) and sorted(took) == list(range(elements))


def measure(earlier: int, elements: int, algorithm: str, root: Path) -> str:
    layout, spec = StudyLayout(root / f"{earlier}"), study(algorithm, elements)
    lay(layout, spec, earlier)
    first = plan_wave(layout, spec, elements)
    found = warm(layout, first, elements)
    seconds, cpu = sorted(wall for wall, _ in found), sum(cpu for _, cpu in found)
    took_s = proposed(layout, first)
    count = len(read_plan(layout.wave(first)).assignments) - elements
    second = plan_wave(layout, spec, elements)
    last_s = cold(layout, second, elements)
    is_sound = once_each(layout, first, elements) and once_each(layout, second, elements)
    median, most = seconds[len(seconds) // 2], seconds[-1]
    cells: Sequence[object] = (
        *(earlier, elements, algorithm, f"{median:.3f}", f"{most:.3f}", f"{1000 * cpu / elements:.1f}"),
        *(f"{last_s:.2f}", f"{took_s:.2f}", count),
        "yes" if is_sound else "NO",
    )
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--earlier", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--elements", type=int, default=64)
    parser.add_argument("--algorithm", default="auto")
    given = parser.parse_args()
    print(
        "| earlier trials | at once | algorithm | bind, median s | bind, last s | its CPU ms | cold, last s | "
        "proposed s | trials | each once |\n|---|---|---|---|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory(dir=os.environ.get("HPOSLURM_BENCH_DIR")) as root:
        for earlier in given.earlier:
            print(measure(earlier, given.elements, given.algorithm, Path(root)), flush=True)


if __name__ == "__main__":
    main()
