"""Limits on jobs, as a real slurmctld sets them: a QOS that lets a user have five jobs in the queue."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.e2e.conftest import Shell
from tests.worker.study import is_alive

pytestmark = pytest.mark.slurm

MOST = 5
REPORT = (
    "python -c 'import sys; from hposlurm import client; client.report(step=1, eval_loss=float(sys.argv[1]))' {{ x }}"
)


@pytest.fixture
def tight(monkeypatch: pytest.MonkeyPatch, wait_until) -> Iterator[dict[str, str]]:
    """A cluster of its own that enforces its limits, and what a study says in `slurm` to meet them."""
    root = Path(f"/var/tmp/hposlurm-qos-{os.getpid()}")
    cluster = [sys.executable, str(REPOSITORY / "scripts" / "slurm-cluster")]

    def up() -> None:
        subprocess.run([*cluster, "up", "--root", str(root), "--nodes", "2"], check=True, timeout=600)

    try:
        up()
        conf = root / "etc" / "slurm.conf"
        monkeypatch.setenv("SLURM_CONF", str(conf))
        for words in (
            "add account hpo",
            f"add qos tight MaxSubmitJobsPerUser={MOST}",
            "add user root account=hpo",
            "modify user root set qos=normal,tight",
        ):
            subprocess.run(["sacctmgr", "-i", *words.split()], check=True, capture_output=True)
        conf.write_text(conf.read_text() + "AccountingStorageEnforce=limits,qos\n")
        pid = int((root / "run" / "slurmctld.pid").read_text())
        subprocess.run(["scontrol", "shutdown", "slurmctld"], check=True)  # it reads that when it starts
        wait_until(lambda: not is_alive(pid), 60)
        up()
        yield {"account": "hpo", "qos": "tight"}
    finally:
        subprocess.run([*cluster, "down", "--root", str(root)], capture_output=True, timeout=120)
        shutil.rmtree(root, ignore_errors=True)


def sizes(shell: Shell, study: str) -> list[int]:
    """How many elements of each wave the queue took."""
    found = sorted((shell.cwd / "runs" / study).glob("waves/*/jobs.json"))
    return [sum(array["count"] for array in json.loads(path.read_bytes())["arrays"]) for path in found]


def test_what_fits_under_a_limit_is_submitted_and_the_rest_later(shell, write_study, wait_until, tight):
    study = write_study("waves", REPORT, budget={"n_trials": 8}, waves={"size": 8}, slurm=tight)
    shell.ok("launch", str(study))
    assert sizes(shell, "waves") == [MOST - 1]  # and the planner
    wait_until(lambda: shell.has_finished("waves"), 300)
    assert [(row["state"], row["attempts"]) for row in shell.rows("waves")] == [("COMPLETE", 1)] * 8

    chain = write_study("pairs", REPORT, waves={"size": 1}, slurm={**tight, "driver": "chain"})
    said = shell.ok("launch", str(chain))
    assert "2 pairs of array and planner in the queue of 7" in said and "QOSMaxSubmitJobPerUserLimit" in said
    wait_until(lambda: shell.status("pairs")["phase"] == "stalled", 120)
    shell.ok("resume", "pairs")
    wait_until(lambda: shell.has_finished("pairs"), 240)
    assert [(row["state"], row["attempts"]) for row in shell.rows("pairs")] == [("COMPLETE", 1)] * 4
