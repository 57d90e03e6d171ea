"""Compares search algorithms in simulated time: the regret after the wall time of 5, 12 and 25 full trainings.

    scripts/bench_search.py --curves DIR --tasks 126026 189906 168330 --seeds 20 --out bench.jsonl
    scripts/bench_search.py --curves DIR --tasks 126026 --algorithms auto --peers ray syne neps optuna --out bench.jsonl
    scripts/bench_search.py --tasks noisy wide conditional discrete misleading

Without --curves only the synthetic tasks can be searched. Regret 1 is the median random configuration, 0 the best known
one; a study's is that of the lowest loss that it has seen so far. Our algorithms run by the product's own planner in
its simulation ("tpe+barrier": in another mode than refill); other tools' are asked and told by the same clock, each in
a Python environment of its own ("ray-asha"). What --out has already is not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

from searchbench import peers, results  # noqa: E402 - the threads come first
from searchbench.clock import Course, drive  # noqa: E402
from searchbench.results import Result  # noqa: E402
from searchbench.tasks import SYNTHETIC, Task, load_task  # noqa: E402

OURS = ("random", "tpe", "asha", "asha_stopping", "hyperband", "bohb", "auto")
LOWEST_RUNG, FACTOR = 3, 3


def main() -> None:
    given = _arguments()
    for name in given.peers:
        peers.install(name, given.cache)
    algorithms = list(dict.fromkeys([*given.algorithms, *peers.all_of(given.peers)]))
    bench = Bench(given.cache, algorithms)
    found = results.read(given.out) if given.out else []
    known = {results.key(result) for result in found}
    tasks: dict[str, Task] = {}
    wanted = []
    for study in _studies(given, algorithms):
        wanted.append(results.key(study))
        if wanted[-1] in known:
            continue
        name = study["task"]
        tasks[name] = tasks.get(name) or load_task(name, given.curves)
        study |= bench.run(tasks[name], study)
        found.append(study)
        print(json.dumps(study), file=sys.stderr, flush=True)
        if given.out:
            results.append(given.out, study)
    bench.close()
    shown = [result for result in found if results.key(result) in set(wanted)]
    print("\n\n".join(form(shown) for form in (results.per_task, results.per_algorithm, results.census)))


def _studies(given: argparse.Namespace, algorithms: list[str]) -> Iterator[Result]:
    """Seed by seed: a comparison that is interrupted has as many seeds of everything, give or take one."""
    for seed in range(given.first_seed, given.first_seed + given.seeds):
        for task in given.tasks:
            for algorithm in algorithms:
                yield {
                    "task": task,
                    "algorithm": algorithm,
                    "workers": given.workers,
                    "points": given.points,
                    "seed": seed,
                }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curves", type=Path, help="the folder of the LCBench surrogate (hpo_curves.py)")
    parser.add_argument("--tasks", nargs="+", default=list(SYNTHETIC), help="LCBench numbers or synthetic names")
    parser.add_argument("--algorithms", nargs="*", default=list(OURS), help="ours, or another tool's: ray-asha")
    parser.add_argument(
        "--peers",
        nargs="*",
        default=[],
        type=lambda name: name.removesuffix("-tune"),
        choices=list(peers.PEERS),
        help="tools to install and to run all of",
    )
    parser.add_argument(
        "--cache", type=Path, default=peers.DEFAULT_CACHE, help=f"their environments ({peers.DEFAULT_CACHE})"
    )
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument(
        "--points", type=float, nargs="+", default=[5, 12, 25], help="mean full trainings per worker; the last ends it"
    )
    parser.add_argument("--out", type=Path, help="results: one line of JSON for each study, added to what is there")
    return parser.parse_args()


class Bench:
    """Runs studies; the other tools' processes stay up between them."""

    def __init__(self, cache: Path, algorithms: list[str]) -> None:
        names = {name for name in map(peers.peer_of, algorithms) if name is not None}
        self._tools = {name: peers.Remote(name, cache) for name in sorted(names)}
        self._version = f"hposlurm {_commit()}"

    def run(self, task: Task, study: Result) -> Result:
        """The study's score, what it was measured with, and the real seconds that it took."""
        started = time.perf_counter()
        until_s = max(study["points"]) * task.scale[3]
        algorithm, workers = study["algorithm"], study["workers"]
        setting = {"seed": study["seed"], "min_step": LOWEST_RUNG, "factor": FACTOR, "workers": workers}
        name = peers.peer_of(algorithm)
        if name is None:
            from searchbench import ours

            course: Course = ours.course(task, algorithm, setting, until_s)
        else:
            tool = self._tools[name]
            tool.open({**setting, "algorithm": algorithm, "space": task.space, "max_step": task.max_step})
            course = drive(tool, task, workers, until_s)
        took = round(time.perf_counter() - started, 2)
        version = peers.version_of(name) if name else self._version
        return {**results.score(task, course, study["points"]), "own_s": took, "version": version}

    def close(self) -> None:
        for tool in self._tools.values():
            tool.close()


def _commit() -> str:
    here = Path(__file__).resolve().parent
    found = subprocess.run(["git", "-C", here, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return found.stdout.strip() or "of no commit"
