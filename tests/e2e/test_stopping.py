"""ASHA by stopping with real processes: what workers decide about each other's trials follows from the journals."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from hposlurm.pruning import DECISION, Curve, PruningDecision, recomputed
from hposlurm.records import journal
from hposlurm.records.layout import StudyLayout
from hposlurm.records.plan import read_plan
from tests.e2e.conftest import Shell

# At each rung it waits until somebody has decided, so that the test need not guess how long that takes.
TRAINING = """
import json, os, time
from hposlurm import client

x = client.params()["x"]
own = os.path.join(os.environ["HPOSLURM_TRIAL_DIR"], f"attempt-{os.environ['HPOSLURM_ATTEMPT']}.jsonl")
deadline, decisions = time.monotonic() + 60, 0
for step in range(1, 10):
    client.report(step=step, eval_loss=x + 1 / step)
    if step in (1, 3):
        decisions += 1
        while open(own).read().count('"ruling"') < decisions and time.monotonic() < deadline:
            time.sleep(0.02)
    while decisions and '"stops":true' in open(own).read() and not client.should_stop():
        time.sleep(0.02)
    if client.should_stop():
        break
path = client.checkpoint_dir() / f"step-{step}.json"
path.write_text(json.dumps({"step": step}))
client.report_checkpoint(step, path)
"""


def study(shell: Shell, write_study, name: str, **sections) -> Path:
    (shell.cwd / "stopping.py").write_text(TRAINING)
    search = {"algorithm": "asha_stopping", "seed": 1, "max_resource": 9}
    command = f"{sys.executable} stopping.py"
    return write_study(name, command, **{"search": search, "budget": {"n_trials": 9}, **sections})


def check(shell: Shell, name: str) -> None:
    """Everyone got as far as the decisions say, and these follow from what everybody recorded."""
    layout = StudyLayout(shell.cwd / "runs" / name)
    plan = read_plan(layout.wave(0))
    assert plan.stop is not None and len(plan.assignments) == 9
    curves = {number: Curve(plan.stop.objectives) for number in range(9)}
    decisions: dict[int, list[PruningDecision]] = {number: [] for number in curves}
    for number, curve in curves.items():
        for record in journal.read(layout.trial(number).journal(0)).records:
            curve.take(record)
            if record["kind"] == DECISION:
                decisions[number].append(PruningDecision.from_record(record))
    for row in shell.rows(name):
        mine = decisions[row["trial"]]
        assert [recomputed(plan.stop, decision, curves[row["trial"]], curves) for decision in mine] == mine
        last = mine[-1]
        assert row["state"] == ("PRUNED" if last.stops else "COMPLETE")
        assert curves[row["trial"]].last_step == (last.level if last.stops else 9)
        assert row["reason"] == (last.reason if last.stops else None)
        saved = layout.trial(row["trial"]).checkpoints / f"step-{curves[row['trial']].last_step:.0f}.json"
        assert json.loads(saved.read_text())["step"] == curves[row["trial"]].last_step
    best = min(curves, key=lambda number: curves[number].points[0][1])
    assert not any(decision.stops for decision in decisions[best])
    assert sum(r.stops for mine in decisions.values() for r in mine) >= 3


# Who is worse than the others were waits to be stopped: by the first report it is known how these ended.
COMPARED = """
import time
from hposlurm import client

x = client.params()["x"]
deadline = time.monotonic() + 60
for step in range(1, 5):
    client.report(step=step, eval_loss=x + 1 / step)
    while x > 0.5 and not client.should_stop() and time.monotonic() < deadline:
        time.sleep(0.02)
    if client.should_stop():
        break
"""


def median_study(shell: Shell, write_study, name: str, **sections) -> Path:
    """One after the other: three that are better than all before, and two that are worse."""
    (shell.cwd / "compared.py").write_text(COMPARED)
    enqueue = [{"x": x} for x in (0.3, 0.2, 0.9, 0.1, 0.8)]
    search = {"sampler": "random", "pruner": "median", "warmup_trials": 1, "enqueue": enqueue}
    command = f"{sys.executable} compared.py"
    return write_study(
        name, command, **{"search": search, "budget": {"n_trials": 5}, "waves": {"max_concurrent": 1}, **sections}
    )


def check_median(shell: Shell, name: str) -> None:
    layout = StudyLayout(shell.cwd / "runs" / name)
    stop = read_plan(layout.wave(0)).stop
    assert stop is not None
    curves = {number: Curve(stop.objectives) for number in range(5)}
    found: dict[int, PruningDecision] = {}
    for number, curve in curves.items():
        for record in journal.read(layout.trial(number).journal(0)).records:
            curve.take(record)
            if record["kind"] == DECISION:
                found[number] = PruningDecision.from_record(record)
    assert found.keys() == {2, 4} and all(decision.stops and decision.others for decision in found.values())
    assert {number: recomputed(stop, decision, curves[number], curves) for number, decision in found.items()} == found
    states = {row["trial"]: (row["state"], row["reason"]) for row in shell.rows(name)}
    assert states == {n: ("PRUNED", found[n].reason) if n in found else ("COMPLETE", None) for n in curves}


def test_who_is_worse_than_the_median_is_stopped_on_one_machine(shell, write_study):
    shell.ok("launch", str(median_study(shell, write_study, "compared", backend="local")))
    check_median(shell, "compared")


def test_on_one_machine(shell, write_study):
    shell.ok("launch", str(study(shell, write_study, "stopped", backend="local", waves={"max_concurrent": 3})))
    check(shell, "stopped")
    assert [len(plan["assignments"]) for plan in shell.plans("stopped")] == [9, 0]
