"""Budgets on real daemons: a study ends within its GPU hours, as `sacct -D` counts them from outside."""

from __future__ import annotations

import json

import pytest

from hposlurm.backend.queries import ask, parse_sacct

pytestmark = [pytest.mark.slurm, pytest.mark.usefixtures("slurm_cluster")]

# One element reserves two GPUs for a minute, and uses some of it. Three fit into the budget at once.
ELEMENT_H = 2 * 1 / 60
BUDGET_H = 3.5 * ELEMENT_H
TRIAL = """
import os, sys, time
from hposlurm import client
kind, attempt = int(sys.argv[1]) % 3, int(os.environ["HPOSLURM_ATTEMPT"])
time.sleep((15, 30, 20)[kind])
if kind == 2 and attempt == 0:
    sys.exit(3)
client.report(step=1, eval_loss=1.0 + int(sys.argv[1]))
"""


def gpu_hours_by_sacct(shell, study: str) -> tuple[float, list[float]]:
    """What all jobs of the study were allocated, and each element by itself, every run of it."""
    jobs = []
    for record in sorted((shell.cwd / "runs" / study).glob("waves/*/jobs.json")):
        jobs += [array["job_id"] for array in json.loads(record.read_bytes())["arrays"]]
    text = ask("sacct", "-n", "-P", "-X", "-D", "-j", ",".join(jobs), "-o", "JobID,State,ElapsedRaw,AllocTRES,NodeList")
    hours = [usage.elapsed_s * usage.gpus / 3600 for runs in parse_sacct(text).values() for usage in runs]
    return sum(hours), hours


@pytest.mark.long(210)
def test_a_study_ends_within_its_gpu_hours(shell, write_study, wait_until):
    (shell.cwd / "trial.py").write_text(TRIAL)
    study = write_study(
        "frugal",
        "",
        budget={"gpu_hours": BUDGET_H, "n_trials": 60},
        waves={"size": 4, "mode": "barrier"},
        trial={"command": "python trial.py {{ trial }}", "retries": 1},
        resources={"gpus_per_node": 2, "cpus_per_task": 1, "mem_gb": 0.25, "time": 1},
    )
    shell.ok("launch", str(study))
    wait_until(lambda: shell.has_finished("frugal"), 540)
    status = shell.status("frugal")
    assert status["phase"] == "finished"
    assert status["detail"].startswith("gpu_hours: ") and "the next trial could need 0.03333" in status["detail"]

    plans = shell.plans("frugal")
    sizes = [len(plan["assignments"]) for plan in plans if plan["assignments"]]
    assert sizes[0] == 3 and sizes[-1] == 1  # of waves of 4: they shrink to what is left
    total, each = gpu_hours_by_sacct(shell, "frugal")
    assert len(each) == sum(sizes)  # no run but those that were planned
    assert BUDGET_H - ELEMENT_H < total <= BUDGET_H
    assert sum(row["gpu_hours"] for row in shell.rows("frugal")) == pytest.approx(total, abs=1e-3)
    assert status["budget"]["gpu_hours"]["used"] == pytest.approx(total, abs=1e-3)
    assert max(row["attempts"] for row in shell.rows("frugal")) == 2  # a failed trial's retry was paid for as well

    shell.ok("resume", "frugal", "--set", f"budget.gpu_hours={BUDGET_H + 2 * ELEMENT_H}")
    known = len(plans)
    wait_until(lambda: len(shell.plans("frugal")) > known and shell.has_finished("frugal"), 300)
    more, _ = gpu_hours_by_sacct(shell, "frugal")
    assert total < more <= BUDGET_H + 2 * ELEMENT_H
