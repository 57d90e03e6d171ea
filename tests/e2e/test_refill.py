"""waves.mode refill, run whole: each job takes its trial when it starts, on this machine and on real daemons."""

from __future__ import annotations

from collections import Counter

import pytest

COMMAND = (
    "python -c 'import sys, time; from hposlurm import client; time.sleep({length} * (1 + int(sys.argv[2]) % 2)); "
    "client.report(step=1, eval_loss=float(sys.argv[1]))' {{{{ x }}}} {{{{ trial }}}}"
)


def check(shell, name, count, slots):
    assert [row["state"] for row in shell.rows(name)] == ["COMPLETE"] * count
    starts = shell.starts(name)
    assert Counter(start["trial"] for start in starts) == dict.fromkeys(range(count), 1)
    assert {start["wave"] for start in starts} == {0}
    moments = sorted([(start["t"], 1) for start in starts] + [(start["until"], -1) for start in starts])
    running = most = 0
    for _, change in moments:
        running += change
        most = max(most, running)
    assert most <= slots
    # the wave was planned with what could run at once; the others were thought of while these ran
    (plan, *_) = shell.plans(name)
    assert len(plan["assignments"]) == slots
    assert list((shell.cwd / "runs" / name / "waves" / "0000").glob("batch-*.json"))


def test_jobs_on_this_machine_take_what_is_next(shell, write_study):
    waves = {"max_concurrent": 2, "mode": "refill"}
    search = {"algorithm": "tpe", "seed": 1}
    command = COMMAND.format(length=0.3)
    path = write_study("here", command, backend="local", waves=waves, budget={"n_trials": 8}, search=search)
    shell.ok("launch", str(path))
    check(shell, "here", 8, 2)


@pytest.mark.slurm
@pytest.mark.usefixtures("slurm_cluster")
def test_jobs_on_a_cluster_take_what_is_next(shell, write_study, wait_until):
    waves = {"max_concurrent": 4, "mode": "refill"}
    search = {"algorithm": "tpe", "seed": 1}
    command = COMMAND.format(length=2)
    path = write_study("refill", command, waves=waves, budget={"n_trials": 15}, search=search)
    shell.ok("launch", str(path))
    wait_until(lambda: shell.has_finished("refill"), 240)
    check(shell, "refill", 15, 4)
