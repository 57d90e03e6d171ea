"""driver: chain and driver: foreground on real daemons, in a partition where slurmctld refuses sbatch to jobs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hposlurm.backend.queries import ask
from hposlurm.records.fail_points import VARIABLE
from tests.e2e.closed import Closed
from tests.e2e.conftest import Shell

pytestmark = pytest.mark.slurm

REPORT = (
    "python -c 'import sys; from hposlurm import client; client.report(step=1, eval_loss=float(sys.argv[1]))' {{ x }}"
)
# Each trial tries to submit a job, and keeps what slurmctld answers.
SUBMIT = 'SLURM_CONF=$(cat conf) sbatch -p "$(cat partition)" --wrap true > "$HPOSLURM_TRIAL_DIR/sbatch" 2>&1'
# However slow the machine is, the first wave has not ended before the test goes on.
UNTIL_GO = "until [ -e go ]; do sleep 0.2; done"
TRIAL = f"{SUBMIT} || true; {REPORT}"
WAVES_OF_TWO = {
    "search": {"algorithm": "random", "seed": 5},
    "budget": {"n_trials": 4},
    "waves": {"size": 2, "mode": "barrier"},
}
HPOSLURM = [sys.executable, "-P", "-m", "hposlurm"]


@pytest.fixture
def closed(slurm_cluster, tmp_path):
    with Closed.partition(slurm_cluster.conf, tmp_path / "closed") as found:
        found.describe(tmp_path)
        yield found


def jobs(shell: Shell, study: str) -> list[list[str]]:
    """The arrays of each wave that was submitted."""
    found = sorted((shell.cwd / "runs" / study).glob("waves/*/jobs.json"))
    return [[array["job_id"] for array in json.loads(path.read_bytes())["arrays"]] for path in found]


def has_each_trial_once(shell: Shell, study: str) -> None:
    """Four trials in two waves of two, each run once, none of which could have submitted a job."""
    assert [(row["state"], row["attempts"]) for row in shell.rows(study)] == [("COMPLETE", 1)] * 4
    starts = shell.starts(study)
    assert sorted(start["trial"] for start in starts) == [0, 1, 2, 3]
    arrays = jobs(shell, study)
    assert {start["job_id"].partition("_")[0] for start in starts} == {arrays[0][0], arrays[1][0]}
    answers = [path.read_text() for path in (shell.cwd / "runs" / study).glob("trials/*/sbatch")]
    assert len(answers) == 4 and all("denied" in answer for answer in answers), answers


def runs_a_chain(shell: Shell, study: Path, wait_until: Callable[..., Any]) -> None:
    """Runs a study whose trials wait for the file `go`."""
    said = shell.ok("launch", str(study))
    name = study.stem
    assert "5 pairs of array and planner in the queue" in said
    assert len(jobs(shell, name)) == 5 and shell.plans(name)[1:] == []
    (shell.cwd / "go").touch()
    wait_until(lambda: shell.has_finished(name), 240)
    assert [len(plan["assignments"]) for plan in shell.plans(name)] == [2, 2, 0]
    has_each_trial_once(shell, name)
    wait_until(lambda: not shell.queued(name), 60)
    assert shell.status(name)["phase"] == "finished"


def test_a_chain_runs_where_jobs_may_not_submit(shell, write_study, wait_until, closed):
    study = write_study("chain", f"{UNTIL_GO}; {TRIAL}", **WAVES_OF_TWO, slurm={"driver": "chain", **closed.slurm})
    runs_a_chain(shell, study, wait_until)


def test_a_chain_runs_without_accounting(shell, write_study, wait_until, tmp_path, cluster_without_accounting):
    with Closed.partition(cluster_without_accounting.conf, tmp_path / "closed") as closed:
        closed.describe(tmp_path)
        study = write_study("bare", f"{UNTIL_GO}; {TRIAL}", **WAVES_OF_TWO, slurm={"driver": "chain", **closed.slurm})
        runs_a_chain(shell, study, wait_until)
        study = write_study("front", TRIAL, **WAVES_OF_TWO, slurm={"driver": "foreground", **closed.slurm})
        assert "4 of 4 trials are done" in shell.ok("launch", str(study))
        has_each_trial_once(shell, "front")


def test_the_foreground_driver_runs_where_jobs_may_not_submit(shell, write_study, closed):
    study = write_study("front", TRIAL, **WAVES_OF_TWO, slurm={"driver": "foreground", **closed.slurm})
    assert "4 of 4 trials are done" in shell.ok("launch", str(study))
    has_each_trial_once(shell, "front")
    assert not list((shell.cwd / "runs/front").glob("waves/*/planner*"))


def test_ctrl_c_of_the_foreground_driver_leaves_the_jobs_and_resume_goes_on(shell, write_study, wait_until, closed):
    study = write_study("left", f"{UNTIL_GO}; {TRIAL}", **WAVES_OF_TWO, slurm={"driver": "foreground", **closed.slurm})
    with (shell.cwd / "said").open("w+") as said:
        process = subprocess.Popen([*HPOSLURM, "launch", str(study)], cwd=shell.cwd, stdout=said, stderr=said)
        wait_until(lambda: shell.starts("left"), 90)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        said.seek(0)
        assert "no wave follows them until `hposlurm resume left`" in said.read()
    assert shell.queued("left")
    (shell.cwd / "go").touch()
    wait_until(lambda: len(shell.rows("left")) == 2 and all(r["state"] == "COMPLETE" for r in shell.rows("left")), 90)
    view = shell.status("left")
    assert (view["phase"], view["next"]) == ("stalled", "hposlurm resume left")
    assert "4 of 4 trials are done" in shell.ok("resume", "left")
    has_each_trial_once(shell, "left")


@pytest.mark.long(110)
def test_a_chain_whose_launch_was_killed_is_finished_by_resume(shell, write_study, wait_until, closed):
    """Killed within the first pair, at places that a refused or half-done submission leaves behind."""
    places = ["array submitted", "planner submitted", "jobs recorded", "released", "pair laid"]
    studies = {f"cut{i}": place for i, place in enumerate(places)}
    for name, place in studies.items():
        study = write_study(name, TRIAL, **WAVES_OF_TWO, slurm={"driver": "chain", **closed.slurm})
        environment = {**os.environ, VARIABLE: place}
        done = subprocess.run([*HPOSLURM, "launch", str(study)], cwd=shell.cwd, env=environment, capture_output=True)
        assert done.returncode == -signal.SIGKILL, (place, done)
        shell.ok("resume", name)
    wait_until(lambda: all(shell.has_finished(name) for name in studies), 400)
    for name in studies:
        has_each_trial_once(shell, name)


def no_sbatch(directory: Path) -> tuple[str, Path]:
    """The line of `setup` by which sbatch fails as without a controller, and the file without which it works again."""
    directory.mkdir()
    away = directory / "away"
    away.touch()
    error = "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)"
    found = shutil.which("sbatch")
    sbatch = directory / "sbatch"
    sbatch.write_text(f"#!/bin/sh\n[ ! -e {away} ] || {{ echo '{error}' >&2; exit 1; }}\nexec {found} \"$@\"\n")
    sbatch.chmod(0o755)
    return f"export PATH={directory}:$PATH", away


@pytest.mark.long(110)
def test_what_becomes_of_planners_that_were_killed_or_cannot_submit(shell, write_study, wait_until, closed, tmp_path):
    """Both at once, since both have to wait: a chain loses one pair, a planner job starts again later and goes on."""
    setup, away = no_sbatch(tmp_path / "bin")
    late = write_study("late", REPORT, **WAVES_OF_TWO, slurm={"setup": [setup], "planner": {"time": 1}})
    shell.ok("launch", str(late))
    patient = planner_of(shell, "late")
    study = write_study("hole", f"{UNTIL_GO}; {TRIAL}", **WAVES_OF_TWO, slurm={"driver": "chain", **closed.slurm})
    shell.ok("launch", str(study))
    wait_until(lambda: shell.starts("hole"), 90)
    ask("scancel", planner_of(shell, "hole"))
    (shell.cwd / "go").touch()

    wait_until(lambda: "Restarts=1 " in ask("scontrol", "show", "job", patient), 120)
    assert len(jobs(shell, "late")) == 1 and len(shell.plans("late")) == 2
    away.unlink()
    wait_until(lambda: shell.has_finished("late"), 180)
    assert [(row["state"], row["attempts"]) for row in shell.rows("late")] == [("COMPLETE", 1)] * 4
    assert planner_of(shell, "late") == patient  # the same job, not another one
    claims = (shell.cwd / "runs/late/waves/0001").glob("intent*.json")
    assert {json.loads(path.read_bytes())["job_id"] for path in claims} == {patient}

    wait_until(lambda: shell.has_finished("hole"), 400)
    assert [len(plan["assignments"]) for plan in shell.plans("hole")] == [2, 0, 2, 0]
    assert [(row["state"], row["attempts"]) for row in shell.rows("hole")] == [("COMPLETE", 1)] * 4


def planner_of(shell: Shell, study: str) -> str:
    """The job id of the planner behind wave 0."""
    return str(json.loads((shell.cwd / "runs" / study / "waves/0000/planner.json").read_bytes())["job_id"])


def test_a_chain_that_runs_out_is_reported_and_resume_lays_more(shell, write_study, wait_until, closed):
    study = write_study(
        "short",
        "",
        budget={"n_trials": 1},
        waves={"size": 1},
        trial={
            "command": f'[ "$HPOSLURM_ATTEMPT" -gt 3 ] || exit 3; until [ -e go ]; do sleep 0.2; done; {REPORT}',
            "retries": 8,
        },
        slurm={"driver": "chain", **closed.slurm},
    )
    shell.ok("launch", str(study))
    view = wait_until(lambda: (v := shell.status("short"))["phase"] == "stalled" and v, 240)
    assert view["detail"] == "wave 4 is planned, and the chain of arrays has run out"
    assert view["next"] == "hposlurm resume short"
    shell.ok("resume", "short")
    assert shell.status("short")["phase"] == "running"
    (shell.cwd / "go").touch()
    wait_until(lambda: shell.has_finished("short"), 120)
    assert [(row["state"], row["attempts"]) for row in shell.rows("short")] == [("COMPLETE", 5)]


def test_cancel_ends_a_whole_chain_and_resume_goes_on(shell, write_study, wait_until, closed):
    study = write_study("ended", f"{UNTIL_GO}; {TRIAL}", **WAVES_OF_TWO, slurm={"driver": "chain", **closed.slurm})
    shell.ok("launch", str(study))
    wait_until(lambda: shell.starts("ended"), 90)
    shell.ok("cancel", "ended")
    wait_until(lambda: not shell.queued("ended"), 60)
    assert shell.status("ended")["phase"] == "stopped" and len(shell.plans("ended")) == 1
    (shell.cwd / "go").touch()
    shell.ok("resume", "ended")
    wait_until(lambda: shell.has_finished("ended"), 240)
    assert [row["state"] for row in shell.rows("ended")] == ["COMPLETE"] * 4
