"""Overlapping waves, run whole: by a process on this machine, and by planner jobs on real daemons."""

from __future__ import annotations

from collections import Counter

import pytest

COMMAND = (
    "python -c 'import sys, time; from hposlurm import client; time.sleep({length} * (1 + int(sys.argv[2]) % 2)); "
    "client.report(step=1, eval_loss=float(sys.argv[1]))' {{{{ x }}}} {{{{ trial }}}}"
)


def check(shell, name, count):
    assert [row["state"] for row in shell.rows(name)] == ["COMPLETE"] * count
    assert Counter(start["trial"] for start in shell.starts(name)) == dict.fromkeys(range(count), 1)
    assert any(plan["in_flight"] for plan in shell.plans(name))
    waves = [(s["t"], s["wave"], s["until"]) for s in shell.starts(name)]
    # a later wave began before an earlier one had ended
    assert any(a[1] < b[1] and b[0] < a[2] for a in waves for b in waves)


def test_waves_overlap_on_this_machine(shell, write_study):
    waves = {"size": 2, "max_concurrent": 2, "mode": "overlap"}
    search = {"algorithm": "tpe", "seed": 1}
    command = COMMAND.format(length=0.3)
    path = write_study("here", command, backend="local", waves=waves, budget={"n_trials": 8}, search=search)
    shell.ok("launch", str(path))
    check(shell, "here", 8)


@pytest.mark.slurm
@pytest.mark.usefixtures("slurm_cluster")
def test_waves_overlap_on_a_cluster(shell, write_study, wait_until):
    waves = {"size": 3, "mode": "overlap"}
    search = {"algorithm": "tpe", "seed": 1}
    command = COMMAND.format(length=3)
    path = write_study("overlap", command, waves=waves, budget={"n_trials": 15}, search=search)
    shell.ok("launch", str(path))
    wait_until(lambda: shell.has_finished("overlap"), 240)
    check(shell, "overlap", 15)
