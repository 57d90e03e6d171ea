"""The chain of planners on real daemons: killed at every fail point, mended, without accounting, a trial taken out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from hposlurm.records.fail_points import ADVANCE, VARIABLE

pytestmark = pytest.mark.slurm

REPORT = (
    "python -c 'import sys; from hposlurm import client; client.report(step=1, eval_loss=float(sys.argv[1]))' {{ x }}"
)
WAVES_OF_TWO = {
    "search": {"algorithm": "random", "seed": 5},
    "budget": {"n_trials": 4},
    "waves": {"size": 2, "mode": "barrier"},
}


@pytest.mark.usefixtures("slurm_cluster")
def test_a_launch_killed_at_every_fail_point_is_mended_by_resume(shell, write_study, wait_until):
    """One study for each fail point; all of them run at the same time, each trial once, in one array per wave."""
    studies = {f"fp{i}": name for i, name in enumerate(ADVANCE)}
    command = [sys.executable, "-P", "-m", "hposlurm"]
    for study, name in studies.items():
        path = write_study(study, REPORT, **WAVES_OF_TWO)
        environment = {**os.environ, VARIABLE: name}
        done = subprocess.run([*command, "launch", str(path)], cwd=shell.cwd, env=environment, capture_output=True)
        assert done.returncode == -signal.SIGKILL, (name, done)
        shell.ok("resume", study)
    wait_until(lambda: all(shell.has_finished(study) for study in studies), 240)
    for study in studies:
        plans = shell.plans(study)
        assert [len(plan["assignments"]) for plan in plans] == [2, 2, 0], study
        starts = shell.starts(study)
        assert sorted(record["trial"] for record in starts) == [0, 1, 2, 3]
        assert len({record["job_id"].partition("_")[0] for record in starts}) == 2
    wait_until(lambda: not any(shell.queued(study) for study in studies), 60)


@pytest.mark.usefixtures("slurm_cluster")
def test_a_cancelled_planner_is_seen_and_mended(shell, write_study, wait_until):
    shell.ok("launch", str(write_study("gone", f"sleep 8; {REPORT}", **WAVES_OF_TWO)))
    wait_until(lambda: shell.starts("gone"), 60)
    planner = json.loads((shell.cwd / "runs/gone/waves/0000/planner.json").read_bytes())["job_id"]
    subprocess.run(["scancel", planner], check=True)
    view = wait_until(lambda: (v := shell.status("gone"))["phase"] == "stalled" and v, 30)
    assert f"planner (job {planner})" in view["detail"] and view["next"] == "hposlurm resume gone"
    shell.ok("resume", "gone")
    assert shell.status("gone")["phase"] == "running"
    wait_until(lambda: shell.has_finished("gone"), 180)
    assert [row["state"] for row in shell.rows("gone")] == ["COMPLETE"] * 4


@pytest.mark.usefixtures("slurm_cluster")
def test_one_trial_is_taken_out_and_a_held_one_is_shown(shell, write_study, wait_until):
    study = write_study("taken", f"sleep 5; {REPORT}", **{**WAVES_OF_TWO, "waves": {"size": 2, "max_concurrent": 1}})
    shell.ok("launch", str(study))
    array = json.loads((shell.cwd / "runs/taken/waves/0000/jobs.json").read_bytes())["arrays"][0]["job_id"]
    wait_until(lambda: shell.starts("taken"), 60)
    subprocess.run(["scontrol", "uhold", f"{array}_1"], check=True)
    (stuck,) = wait_until(lambda: shell.status("taken")["stuck"], 30)
    assert (stuck["job_id"], stuck["trial"]) == (f"{array}_1", 1)
    assert f"scontrol release {array}_1" in stuck["advice"] and "hposlurm cancel taken 1" in stuck["advice"]
    assert "the study goes on" in shell.ok("cancel", "taken", "1")
    wait_until(lambda: shell.has_finished("taken"), 180)
    rows = {row["trial"]: row["state"] for row in shell.rows("taken")}
    assert rows == {0: "COMPLETE", 1: "FAIL", 2: "COMPLETE", 3: "COMPLETE"}


@pytest.mark.usefixtures("cluster_without_accounting")
def test_a_study_runs_to_its_end_without_accounting(shell, write_study, wait_until):
    command = f'[ "$HPOSLURM_TRIAL$HPOSLURM_ATTEMPT" = 10 ] && kill -9 $$; {REPORT}'
    shell.ok("launch", str(write_study("noacct", command, **WAVES_OF_TWO)))
    wait_until(lambda: shell.has_finished("noacct"), 120)
    states = {row["trial"]: row["state"] for row in shell.rows("noacct")}
    assert states == {0: "COMPLETE", 1: "FAIL", 2: "COMPLETE", 3: "COMPLETE"}
    assert shell.status("noacct")["phase"] == "finished"
