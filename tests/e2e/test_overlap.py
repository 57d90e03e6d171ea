"""Overlapping waves, run whole: by a process on this machine, and by planner jobs on real daemons."""

from __future__ import annotations

from collections import Counter

import pytest

from hposlurm.records.history import read_history
from hposlurm.records.layout import StudyLayout
from hposlurm.trial import TrialState
from tests.e2e import test_promotion

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
    """One study of whole trainings, and beside it brackets of rungs."""
    waves = {"size": 3, "mode": "overlap"}
    search = {"algorithm": "tpe", "seed": 1}
    command = COMMAND.format(length=3)
    path = write_study("overlap", command, waves=waves, budget={"n_trials": 15}, search=search)
    shell.ok("launch", str(path))
    shell.ok("launch", str(test_promotion.study(shell, write_study, "brackets", "bohb", budget={"n_trials": 26})))
    wait_until(lambda: shell.has_finished("overlap") and shell.has_finished("brackets"), 240)
    check(shell, "overlap", 15)
    check_brackets(shell, "brackets")


def check_brackets(shell, name):
    """Of 26 trials in brackets of 9, 5, 3 and 9 those went on that their rungs say, each step trained once."""
    assert any(plan["in_flight"] for plan in shell.plans(name))
    layout = StudyLayout(shell.cwd / "runs" / name)
    trials = read_history(layout).trials
    ends = Counter((trial.attrs["bracket"], trial.stages[-1].to_step) for trial in trials)
    assert ends == {(0, 1): 6, (0, 3): 2, (0, 9): 1, (1, 3): 4, (1, 9): 1, (2, 9): 3, (3, 1): 6, (3, 3): 2, (3, 9): 1}
    for trial in trials:
        reached = trial.stages[-1].to_step
        assert trial.state is (TrialState.COMPLETE if reached == 9 else TrialState.PRUNED)
        assert trial.reason.startswith("" if reached == 9 else f"rung {reached}: ")
        lines = (layout.trial(trial.number).root / "trace").read_text().splitlines()
        assert [int(line.split()[0]) for line in lines] == [*range(1, reached + 1)]
