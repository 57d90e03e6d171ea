"""A node for the imitation of Slurm: it runs the batch scripts of released elements, as long as it is up."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hposlurm.worker.environment_leaks import is_leak
from tests.fake_slurm import FakeSlurm

_LOOK_EVERY_S = 0.05


@dataclass
class _Running:
    process: subprocess.Popen[bytes]
    gpus: list[str]
    is_told: bool = False


class Node:
    """Runs elements between `with Node(slurm):` and its end, on `gpus` GPUs; what runs in the end is terminated."""

    def __init__(self, slurm: FakeSlurm, gpus: int = 8) -> None:
        self._slurm = slurm
        self._gpus = [str(i) for i in range(gpus)]
        self._running: dict[tuple[str, int], _Running] = {}
        self._is_down = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> Node:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_down.set()
        self._thread.join()
        for running in self._running.values():
            running.process.terminate()
            running.process.wait()

    def _work(self) -> None:
        while not self._is_down.wait(_LOOK_EVERY_S):
            with self._locked():
                for job in self._slurm.arrays():
                    states = list(job["states"])
                    self._end(job, states)
                    self._begin(job, states)
                    if states != job["states"]:
                        self._slurm.change(job["id"], states=states)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Keeps the commands out meanwhile."""
        with (self._slurm.home / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _begin(self, job: dict[str, Any], states: list[str]) -> None:
        for index, state in enumerate(states):
            is_full = states.count("RUNNING") >= (job["at_once"] or len(states)) or len(self._gpus) < job["gpus"]
            if job["held"] or job["after"] or state != "PENDING" or is_full:
                continue
            gpus, self._gpus = self._gpus[: job["gpus"]], self._gpus[job["gpus"] :]
            self._running[job["id"], index] = _Running(_start(job, index, gpus), gpus)
            states[index] = "RUNNING"

    def _end(self, job: dict[str, Any], states: list[str]) -> None:
        for index, state in enumerate(states):
            running = self._running.get((job["id"], index))
            if running is None:
                continue
            if running.process.poll() is not None:
                del self._running[job["id"], index]
                self._gpus += running.gpus
                if state == "RUNNING":
                    states[index] = "FAILED" if running.process.returncode else "COMPLETED"
            elif state == "CANCELLED" and not running.is_told:
                running.process.terminate()
                running.is_told = True


def _start(job: dict[str, Any], index: int, gpus: list[str]) -> subprocess.Popen[bytes]:
    environment = {name: value for name, value in os.environ.items() if not is_leak(name)}
    environment |= {
        "FAKE_SLURM_RUNS": "1",
        "SLURM_JOB_ID": f"{int(job['id']) + index}",
        "SLURM_ARRAY_JOB_ID": job["id"],
        "SLURM_ARRAY_TASK_ID": str(index),
        "CUDA_VISIBLE_DEVICES": ",".join(gpus),
    }
    if gpus:
        environment["SLURM_JOB_GPUS"] = ",".join(gpus)
    out, err = (_log(job["script"], name, job["id"], index) for name in ("output", "error"))
    with out.open("ab") as stdout, err.open("ab") as stderr:
        command = ["bash", "-c", job["script"]]
        return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr)


def _log(script: str, name: str, job_id: str, index: int) -> Path:
    found = re.search(rf"^#SBATCH --{name}=(.*)$", script, re.MULTILINE)
    assert found
    words = {"%A": job_id, "%a": str(index), "%%": "%"}
    return Path(re.sub("%[Aa%]", lambda word: words[word.group()], found.group(1).strip('"')))
