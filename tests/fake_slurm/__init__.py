"""Slurm's commands without Slurm: the real SlurmBackend and submitit call executables that keep jobs in a directory."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import submitit.core.utils as submitit_utils
from submitit.core.utils import FailedJobError

from hposlurm.backend import queries
from hposlurm.records.layout import StudyLayout
from hposlurm.worker.binding import find_assignment
from tests.fake_slurm import commands
from tests.planner.fake import write_attempt

BIN = Path(__file__).parent / "bin"


def _is_ours(command: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Whether the command is the imitation's, and not one that a test has put before it."""
    return shutil.which(command[0], path=environment.get("PATH")) == str(BIN / command[0])


def answer(command: Sequence[str], *, env: dict[str, str], **how: Any) -> subprocess.CompletedProcess[str]:
    """As `subprocess.run`, but what the imitation answers is found in this process: a start costs far more."""
    if not _is_ours(command, env):
        return subprocess.run(command, env=env, **how)
    out, err, status = io.StringIO(), io.StringIO(), 0
    with mock.patch.dict(os.environ, env, clear=True), redirect_stdout(out), redirect_stderr(err):
        try:
            commands.main(command)
        except SystemExit as left:
            status = int(left.code or 0)
    return subprocess.CompletedProcess(command, status, out.getvalue(), err.getvalue())


class Submission(submitit_utils.CommandFunction):
    """What submitit runs for a submission, with the answer of `answer`."""

    def __call__(self, *_: Any, **__: Any) -> str:
        sbatch = self.command[self.command.index("sbatch") :]  # before it stands what binds it to this process
        if not _is_ours(sbatch, os.environ):
            return super().__call__()
        done = answer(sbatch, env=dict(os.environ))
        if done.returncode:
            raise FailedJobError(done.stderr.strip())
        return done.stdout.strip()


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


def _set_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    home = tmp_path / "slurm"
    home.mkdir()
    monkeypatch.setenv("FAKE_SLURM", str(home))
    monkeypatch.setenv("PATH", f"{BIN}:{os.environ['PATH']}")
    for name in [n for n in os.environ if n.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    return FakeSlurm(home)


@pytest.fixture
def fake_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    return _set_up(tmp_path, monkeypatch)


@pytest.fixture(name="fake_slurm")
def fake_slurm_within(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    """Asked in the process of the test and in its forks: for tests of what is done with the answers."""
    monkeypatch.setattr(queries, "subprocess", SimpleNamespace(run=answer, TimeoutExpired=subprocess.TimeoutExpired))
    monkeypatch.setattr(submitit_utils, "CommandFunction", Submission)
    return _set_up(tmp_path, monkeypatch)
