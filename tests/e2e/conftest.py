"""Running the command line as a person does: a shell, a directory, no variables of the tests."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hposlurm.backend.queries import ask
from tests.conftest import REPOSITORY, SlurmCluster


@dataclass(frozen=True)
class QueuedJob:
    """A job in the queue of a cluster; an array is one job."""

    job_id: str
    name: str
    state: str
    #: why it waits, as Slurm says it
    reason: str


@dataclass(frozen=True)
class Shell:
    """`hposlurm …` in a working directory of its own."""

    cwd: Path

    def run(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-P", "-m", "hposlurm", *words]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("HPOSLURM")}
        # the venv's python, as after `source .venv/bin/activate`: commands of studies name `python` and `torchrun`
        environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
        options = {"capture_output": True, "text": True, "timeout": 600, **options}
        return subprocess.run(command, cwd=self.cwd, env=environment, **options)

    def ok(self, *words: str) -> str:
        done = self.run(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def rows(self, study: str) -> list[dict[str, Any]]:
        return json.loads(self.ok("collect", study, "--format", "json"))

    def status(self, study: str) -> dict[str, Any]:
        return json.loads(self.ok("status", study, "--format", "json"))

    def plans(self, study: str) -> list[dict[str, Any]]:
        return [json.loads(p.read_bytes()) for p in sorted((self.cwd / "runs" / study).glob("waves/*/wave.json"))]

    def starts(self, study: str) -> list[dict[str, Any]]:
        """First and last record of every attempt: its start, with the time of its end as `until`."""
        found = []
        for path in sorted((self.cwd / "runs" / study).glob("trials/*/attempt-*.jsonl")):
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            if lines:  # a worker has created it a moment ago
                found.append({**lines[0], "until": lines[-1]["t"]})
        return found

    def queued(self, study: str) -> list[QueuedJob]:
        """The jobs of the study that wait, are held or run.

        Of this directory only: on a cluster that stays up, a test that was killed may have left jobs of the same name.
        """
        rows = [row.split("|") for row in ask("squeue", "-h", "--me", "-o", "%F|%j|%T|%r|%Z").splitlines()]
        mine = (row for row in rows if row[1].startswith(f"{study}-") and Path(row[4]).is_relative_to(self.cwd))
        return [QueuedJob(*row[:4]) for row in mine if row[2] != "COMPLETING"]

    def has_finished(self, study: str) -> bool:
        plans = self.plans(study)
        return bool(plans and plans[-1]["finished"])


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture
def cluster_without_accounting(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlurmCluster]:
    """A cluster of its own without slurmdbd; SLURM_CONF points to it while the test runs."""
    root = Path(f"/var/tmp/hposlurm-noacct-{os.getpid()}")
    cluster = [sys.executable, str(REPOSITORY / "scripts" / "slurm-cluster")]
    up = [*cluster, "up", "--root", str(root), "--no-accounting", "--nodes", "2"]
    try:
        answer = subprocess.run(up, capture_output=True, text=True, timeout=600, check=True)
        conf = answer.stdout.strip().removeprefix("export SLURM_CONF=")
        monkeypatch.setenv("SLURM_CONF", conf)
        yield SlurmCluster(Path(conf))
    finally:
        subprocess.run([*cluster, "down", "--root", str(root)], capture_output=True, timeout=120)
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def write_study(tmp_path: Path) -> Callable[..., Path]:
    """Writes a study file with these changes (dotted keys) and gives its path."""

    def write(name: str, command: str, **sections: Any) -> Path:
        import yaml

        data: dict[str, Any] = {
            "name": name,
            "objectives": [{"name": "eval_loss"}],
            "parameters": {"x": {"type": "float", "min": 0.0, "max": 1.0}},
            "search": {"algorithm": "random", "seed": 1},
            "budget": {"n_trials": 4},
            "trial": {"command": command},
            "resources": {"mem_gb": 0.25, "time": "00:05:00"},
        }
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump({**data, **sections}, sort_keys=False))
        return path

    return write
