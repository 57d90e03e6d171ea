"""Slurm's commands without Slurm: the real SlurmBackend and submitit call executables that keep jobs in a directory."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hposlurm.records.layout import StudyLayout
from hposlurm.worker.binding import find_assignment
from tests.planner.fake import write_attempt

BIN = Path(__file__).parent / "bin"


@dataclass(frozen=True)
class FakeSlurm:
    """What lies in the imitation's directory, and the hand that lets jobs run."""

    home: Path

    def jobs(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_text()) for path in sorted(self.home.glob("job-*.json"))]

    def arrays(self) -> list[dict[str, Any]]:
        return [job for job in self.jobs() if job["array"]]

    def planners(self) -> list[dict[str, Any]]:
        return [job for job in self.jobs() if not job["array"]]

    def change(self, job_id: str, **changes: Any) -> None:
        path = self.home / f"job-{job_id}.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    def set(self, name: str, value: int) -> None:
        (self.home / name).write_text(str(value))

    def run_released(self, layout: StudyLayout, loss: Callable[[dict], float | str | None] = lambda p: p["x"]) -> int:
        """Runs every released array that waits for no job to its end, as workers do; how many elements ran a trial."""
        ran = 0
        known = {job["id"]: job for job in self.jobs()}
        for job in self.arrays():
            waits = any("PENDING" in known[other]["states"] for other in job["after"])
            if job["held"] or not job["released"] or waits or "PENDING" not in job["states"]:
                continue
            wave, offset = int(job["name"].split("-w")[1][:4]), int(job["name"].split("-")[-2])
            for i, state in enumerate(job["states"]):
                if state == "PENDING" and (found := find_assignment(layout, wave, offset + i, patience_s=0)):
                    assignment = found[1]
                    value = loss(dict(assignment.params))
                    stage, step = assignment.stage, assignment.to_step or 1
                    element = (layout, wave, offset + i, assignment.trial, f"{job['id']}_{i}")
                    write_attempt(*element, value, stage=stage, step=step)
                    ran += 1
            self.change(job["id"], states=["COMPLETED" if s == "PENDING" else s for s in job["states"]])
        for planner in self.planners():  # what has fired is gone; the test takes the step itself
            over = [job for job in self.arrays() if job["id"] in planner["after"]]
            if all(state in ("COMPLETED", "CANCELLED") for job in over for state in job["states"]):
                self.change(planner["id"], states=["COMPLETED"])
        return ran


@pytest.fixture
def fake_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    home = tmp_path / "slurm"
    home.mkdir()
    monkeypatch.setenv("FAKE_SLURM", str(home))
    monkeypatch.setenv("PATH", f"{BIN}:{os.environ['PATH']}")
    for name in [n for n in os.environ if n.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    return FakeSlurm(home)
