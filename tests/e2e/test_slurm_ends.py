"""Ends of every kind on real daemons: each trial is ended in its own way, and each end means something else."""

from __future__ import annotations

import json
import time

import pytest

from hposlurm.backend.queries import ask

pytestmark = [pytest.mark.slurm, pytest.mark.usefixtures("slurm_cluster")]

TRIAL = """
import os, sys, time
from hposlurm import client

class OutOfMemoryError(RuntimeError):
    pass

OutOfMemoryError.__module__ = "torch"
kind, attempt = sys.argv[1], int(os.environ["HPOSLURM_ATTEMPT"])
if kind == "too large":
    raise OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
if kind == "saves" and not client.resume_from():
    while not client.should_stop():
        time.sleep(0.2)
    path = client.checkpoint_dir() / "step-7"
    path.write_text("7")
    client.report_checkpoint(7, path)
    sys.exit(0)
if kind in ("deaf", "cancelled") or (kind == "requeued" and attempt == 0):
    time.sleep(600)
client.report(step=8, eval_loss=1.0)
"""
KINDS = ["saves", "deaf", "requeued", "cancelled", "too large", "good"]


@pytest.mark.long(95)
def test_every_end_has_its_meaning(shell, write_study, wait_until):
    (shell.cwd / "trial.py").write_text(TRIAL)
    study = write_study(
        "ends",
        "python trial.py {{ kind }}",
        parameters={"kind": {"choices": KINDS}},
        search={"algorithm": "grid"},
        budget={},
        resources={"gpus_per_node": 1, "gpu_type": "v100", "mem_gb": 0.25, "time": "00:01:00"},
    )
    shell.ok("launch", str(study))
    numbers = {a["params"]["kind"]: a["trial"] for a in shell.plans("ends")[0]["assignments"]}

    def job_of(kind: str) -> str:
        return next((s["job_id"] for s in shell.starts("ends") if s["trial"] == numbers[kind]), "")

    ask("scancel", wait_until(lambda: job_of("cancelled"), 120))
    ask("scontrol", "requeue", wait_until(lambda: job_of("requeued"), 120))
    wait_until(lambda: shell.has_finished("ends"), 500)

    rows = {row["kind"]: row for row in shell.rows("ends")}
    assert {kind: (row["state"], row["attempts"]) for kind, row in rows.items()} == {
        "saves": ("COMPLETE", 2),  # at its time limit, and then from its checkpoint
        "deaf": ("FAIL", 1),  # at its time limit with nothing to go on from, and no retries
        "requeued": ("COMPLETE", 2),
        "cancelled": ("FAIL", 1),
        "too large": ("FAIL", 1),
        "good": ("COMPLETE", 1),
    }, json.dumps(rows, indent=1)
    assert rows["deaf"]["reason"].startswith("time limit: the job used up resources.time, without a checkpoint")
    assert rows["cancelled"]["reason"].startswith("cancelled")
    assert rows["too large"]["reason"].startswith("infeasible: out of GPU memory: torch.OutOfMemoryError: CUDA out of")
    infeasible = {f["trial"]: f["infeasible"] for f in shell.status("ends")["failed"]}
    assert infeasible == {numbers[kind]: kind == "too large" for kind in ("deaf", "cancelled", "too large")}

    # every run of every element is paid for, as the accounting says: the requeued one was run twice by one element
    settled = [s for plan in shell.plans("ends") for s in plan["settled"]]
    assert all(s["elapsed_s"] is not None for s in settled), settled
    assert sorted(s["attempt"] for s in settled if s["trial"] == numbers["requeued"]) == [0, 1]
    (resumed,) = (s for s in shell.starts("ends") if s["trial"] == numbers["saves"] and s["attempt"] == 1)
    assert resumed["wave"] == 1 and resumed["resumed_from"].endswith("step-7")


def test_a_node_on_which_trials_fail_is_left_out_of_later_waves(shell, write_study, wait_until):
    report = "import sys; from hposlurm import client; client.report(step=1, eval_loss=float(sys.argv[1]))"
    (shell.cwd / "report.py").write_text(report)
    study = write_study(
        "broken",
        # as a node with a broken driver: it fails at once, and so it is free for the next one again and again
        'test "$HPOSLURM_HOST" != n2 && sleep 2 && python report.py {{ x }}',
        parameters={"x": {"type": "int", "min": 1, "max": 40}},
        budget={"n_trials": 24},
        waves={"size": 8, "mode": "barrier"},
        resources={"gpus_per_node": 2, "gpu_type": "v100", "mem_gb": 0.25, "time": "00:05:00"},
    )
    shell.ok("launch", str(study))
    wait_until(lambda: shell.has_finished("broken"), 400)
    excluded = [plan["exclude"] for plan in shell.plans("broken")]
    assert excluded[0] == [] and excluded[-1] == ["n2"], excluded
    first = excluded.index(["n2"])
    starts = shell.starts("broken")
    assert first < 3 and not [s for s in starts if s["wave"] >= first and s["host"] == "n2"]
    script = shell.cwd / "runs" / "broken" / "waves" / f"{first:04d}" / "trial.sbatch"
    assert "#SBATCH --exclude=n2\n" in script.read_text()
    (shown,) = shell.status("broken")["excluded"]
    assert shown["node"] == "n2" and shown["reason"].endswith("failed there, none completed")
    assert "node n2: trials " in shell.ok("status", "broken")


def test_filters_of_the_users_own_squeue_do_not_end_running_trials(shell, write_study, wait_until, monkeypatch):
    report = "import os, time; from hposlurm import client\nwhile not os.path.exists('go'):\n    time.sleep(0.1)\n"
    (shell.cwd / "waits.py").write_text(f"{report}client.report(step=1, eval_loss=1.0)\n")
    study = write_study("filtered", "python waits.py {{ x }}", budget={"n_trials": 2})
    shell.ok("launch", str(study))
    wait_until(lambda: len(shell.starts("filtered")) == 2, 120)
    for name in ("SQUEUE_PARTITION", "SQUEUE_STATES", "SQUEUE_USERS", "SACCT_FEDERATION", "SLURM_CLUSTERS"):
        monkeypatch.setenv(name, "COMPLETED" if name == "SQUEUE_STATES" else "urgent")
    begun = time.monotonic()
    assert shell.ok("advance", "filtered").startswith("waiting: wave 0: 2 of 2")
    assert time.monotonic() - begun < 60, "the step waited for elements that it thought lost"
    (shell.cwd / "go").touch()
    wait_until(lambda: shell.has_finished("filtered"), 120)
    assert [(row["state"], row["attempts"]) for row in shell.rows("filtered")] == [("COMPLETE", 1)] * 2
