"""A launch that is killed while it submits, on real daemons: nothing is submitted later, and what is held is named."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys

import pytest

from hposlurm.backend import start_time
from hposlurm.backend.queries import ask
from hposlurm.records.fail_points import VARIABLE

pytestmark = [pytest.mark.slurm, pytest.mark.usefixtures("slurm_cluster")]

HPOSLURM = [sys.executable, "-P", "-m", "hposlurm"]
REPORT = "import sys; from hposlurm import client; client.report(step=1, eval_loss=float(sys.argv[1]))\n"
# Waits in place of an sbatch that retries because the controller does not answer, and submits then.
SLOW_SBATCH = """#!/bin/sh
echo $$ > {home}/begun.new && mv {home}/begun.new {home}/begun
while [ ! -e {home}/go ]; do sleep 0.05; done
exec {real} "$@"
"""


def completes(shell, wait_until, study: str) -> None:
    wait_until(lambda: shell.has_finished(study), 120)
    assert [(row["state"], row["attempts"]) for row in shell.rows(study)] == [("COMPLETE", 1)] * 2
    wait_until(lambda: not shell.queued(study), 60)


def test_an_sbatch_that_waits_ends_with_its_launch(shell, write_study, wait_until, monkeypatch):
    (shell.cwd / "train.py").write_text(REPORT)
    slow = shell.cwd / "bin" / "sbatch"
    slow.parent.mkdir()
    slow.write_text(SLOW_SBATCH.format(home=shell.cwd, real=shutil.which("sbatch")))
    slow.chmod(0o700)
    study = write_study("late", "python train.py {{ x }}", budget={"n_trials": 2})
    with monkeypatch.context() as patch:
        patch.setenv("PATH", f"{slow.parent}:{os.environ['PATH']}")
        launch = subprocess.Popen([*HPOSLURM, "launch", str(study)], cwd=shell.cwd, stdout=subprocess.DEVNULL)
        wait_until((shell.cwd / "begun").exists, 60)
        launch.kill()
        assert launch.wait(60) == -signal.SIGKILL
    (shell.cwd / "go").touch()
    sbatch = int((shell.cwd / "begun").read_text())
    wait_until(lambda: not start_time(sbatch), 60)
    assert shell.queued("late") == []
    shell.ok("resume", "late")
    completes(shell, wait_until, "late")


@pytest.mark.parametrize("way", ["resume", "scancel"])
def test_a_held_array_of_a_killed_launch_is_named_and_both_advised_commands_work(shell, write_study, wait_until, way):
    (shell.cwd / "train.py").write_text(REPORT)
    study = write_study("held", "python train.py {{ x }}", budget={"n_trials": 2})
    environment = {**os.environ, VARIABLE: "array submitted"}
    done = subprocess.run([*HPOSLURM, "launch", str(study)], cwd=shell.cwd, env=environment, capture_output=True)
    assert done.returncode == -signal.SIGKILL
    (held,) = shell.queued("held")
    array = held.job_id
    assert held.reason == "JobHeldUser"
    os.utime(shell.cwd / "runs/held/waves/0000/intent.json", (1, 1))  # as if that had been a while ago
    for verb in (("status", "held"), ("list",)):
        said = shell.run(*verb)
        words = " ".join((said.stdout + said.stderr).split())
        assert f"array {array} is held in the queue; `hposlurm resume held` uses it, `scancel {array}` ends it" in words
    if way == "scancel":
        ask("scancel", array)
        wait_until(lambda: not shell.queued("held"), 60)
    shell.ok("resume", "held")
    completes(shell, wait_until, "held")
    used = {start["job_id"].partition("_")[0] for start in shell.starts("held")}
    assert (used == {array}) is (way == "resume")
