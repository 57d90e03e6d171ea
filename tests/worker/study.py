"""A study on disk with one wave, and the real worker on it as a process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hposlurm.records import journal
from hposlurm.records.assignment import Assignment
from hposlurm.records.layout import StudyLayout, TrialLayout
from hposlurm.records.plan import WavePlan, record_plan

DEADLINE_S = 30.0


def until(condition: Callable[[], Any], deadline_s: float = DEADLINE_S) -> Any:
    """The condition's first true value; fails the test if there is none in time."""
    deadline = time.monotonic() + deadline_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
    return value


@dataclass
class Study:
    """Commands become the assignments of wave 0: trial 0 runs the first one, and so on."""

    root: Path
    scratch: Path
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def layout(self) -> StudyLayout:
        return StudyLayout(self.root)

    def plan(self, *commands: str, assignment: Mapping[str, Any] | None = None, **fields: Any) -> Study:
        known: dict[str, Any] = {"params": {}, "signature": "01234567", "seed": 5, **(assignment or {})}
        plan = {
            "wave": 0,
            "study": "demo",
            "created_at": 0.0,
            "spec": "study.yaml",
            "seed": 0,
            "objectives": ("eval_loss",),
            "workdir": str(self.root),
            "assignments": tuple(Assignment(trial=n, command=c, **known) for n, c in enumerate(commands)),
        }
        assert record_plan(self.layout.wave(0), WavePlan(**{**plan, **fields}))
        return self

    def start(self, *prefix: str, **environ: str) -> subprocess.Popen[str]:
        """The worker of element 0 behind the words of `prefix`."""
        process = subprocess.Popen(
            [*prefix, sys.executable, "-P", "-m", "hposlurm.worker", str(self.root), "0", "0"],
            env={**self.environ(), **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def run(self, **environ: str) -> tuple[int, str]:
        """Exit status and stderr of one worker."""
        process = self.start(**environ)
        _, error = process.communicate(timeout=DEADLINE_S)
        return process.returncode, error

    def environ(self) -> dict[str, str]:
        foreign = ("SLURM_", "HPOSLURM_", "CUDA_")
        return {k: v for k, v in os.environ.items() if not k.startswith(foreign)} | {"TMPDIR": str(self.scratch)}

    def trial(self, number: int = 0) -> TrialLayout:
        return self.layout.trial(number)

    def records(self, attempt: int = 0, trial: int = 0) -> list[dict[str, Any]]:
        path = self.trial(trial).journal(attempt)
        return list(journal.read(path).records) if path.exists() else []

    def record(self, kind: str, attempt: int = 0, trial: int = 0) -> dict[str, Any]:
        (found,) = [r for r in self.records(attempt, trial) if r["kind"] == kind]
        return found

    def end(self, attempt: int = 0, trial: int = 0) -> tuple[str, str]:
        """Outcome and reason."""
        record = self.record("end", attempt, trial)
        return record["outcome"], record["reason"]

    def reports(self, attempt: int = 0) -> list[tuple[int, dict[str, Any]]]:
        return [(r["step"], r["metrics"]) for r in self.records(attempt) if r["kind"] == "report"]

    def file(self, name: str) -> str:
        """The text of a file that the command writes into the study directory, once it is there."""
        path = self.root / name
        until(lambda: path.exists() and path.read_text().endswith("\n"))
        return path.read_text().strip()


def report(step: int, **metrics: object) -> str:
    """A shell command that reports; values are JSON."""
    body = ", ".join(f'"{name}": {value}' for name, value in metrics.items())
    return f'echo \'{{"step": {step}, "metrics": {{{body}}}}}\' >> "$HPOSLURM_METRICS_FILE"'


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
