"""waves.mode refill, run whole: each job takes its trial when it starts, on this machine and on real daemons."""

from __future__ import annotations

from collections import Counter

import pytest

from hposlurm.report.explain import explain_trial
from hposlurm.trial import TrialState
from tests.e2e import test_promotion
from tests.report.played import replay

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
    """One study of whole trainings, and beside it one that promotes while others run."""
    waves = {"max_concurrent": 4, "mode": "refill"}
    search = {"algorithm": "tpe", "seed": 1}
    command = COMMAND.format(length=2)
    path = write_study("refill", command, waves=waves, budget={"n_trials": 15}, search=search)
    shell.ok("launch", str(path))
    given = {
        "search": {"algorithm": "auto", "seed": 1, "min_resource": 1, "max_resource": 3},
        "budget": {"n_trials": 12},
        "waves": {"max_concurrent": 8},
    }
    rungs = test_promotion.study(shell, write_study, "rungs", "auto", **given)
    assert "waves.mode: refill" in shell.ok("launch", str(rungs))
    wait_until(lambda: shell.has_finished("refill") and shell.has_finished("rungs"), 240)
    check(shell, "refill", 15, 4)
    check_promoted(shell, "rungs", 12)


def check_promoted(shell, name, count):
    """No step was trained twice, and every decision that the records tell exactly is made again from them."""
    records = replay(shell.cwd / "runs" / name)
    told = [explain_trial(records, trial.number) for trial in records.history.trials]
    assert len(told) == count and {one.state for one in told} <= {TrialState.COMPLETE, TrialState.PAUSED}
    for one in told:
        lines = (records.layout.trial(one.trial).root / "trace").read_text().splitlines()
        assert [int(line.split()[0]) for line in lines] == [*range(1, one.stages[-1].to_step + 1)]
        assert (
            one.attempts == len(one.stages) and [stage.outcome for stage in one.stages] == ["complete"] * one.attempts
        )
    sent_on = [stage for one in told for stage in one.stages[1:]]
    assert len(sent_on) >= 6 and all("rung" in stage.why or "let through" in stage.why for stage in sent_on)
    # what was proposed while others ran follows from what their nodes' clocks say, but for what came in that moment
    agrees = Counter(stage.agrees for one in told for stage in one.stages)
    assert agrees[False] == 0 and agrees[True] > agrees[None]
