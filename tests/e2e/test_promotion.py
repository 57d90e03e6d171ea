"""ASHA by promotion with real processes: paused at a rung, sent on from the checkpoint, no step trained twice."""

from __future__ import annotations

import sys

import pytest

from tests.e2e import test_stopping
from tests.e2e.conftest import Shell

# Losses that keep the trials' order; `trace` has every step that was really done, and the state that it led to.
TRAINING = """
import json, os
from hposlurm import client

x, state, begin = client.params()["x"], 1.0, 0
if client.resume_from():
    saved = json.loads(client.resume_from().read_text())
    state, begin = saved["state"], saved["step"]
trace = open(os.path.join(os.environ["HPOSLURM_TRIAL_DIR"], "trace"), "a")
last = client.max_step() or 9
for step in range(begin + 1, last + 1):
    state = (state * 1.37 + step) % 11
    print(step, state, file=trace, flush=True)
    client.report(step=step, eval_loss=x + 1 / step)
path = client.checkpoint_dir() / f"step-{last}.json"
path.write_text(json.dumps({"state": state, "step": last}))
client.report_checkpoint(last, path)
"""


def study(shell: Shell, write_study, name: str, algorithm: str, **sections):
    (shell.cwd / "training.py").write_text(TRAINING)
    search = {"algorithm": algorithm, "seed": 1, "min_resource": 1, "max_resource": 9}
    command = f"{sys.executable} training.py"
    return write_study(name, command, **{"search": search, "budget": {"n_trials": 9}, **sections})


def check(shell: Shell, name: str) -> None:
    """Of nine trials three were sent on and one came to the end, each step trained once."""
    rows = {row["trial"]: row for row in shell.rows(name)}
    by_x = sorted(rows, key=lambda number: rows[number]["x"])
    assert rows[by_x[0]]["state"] == "COMPLETE"
    states = [1.0]
    for step in range(1, 10):
        states.append((states[-1] * 1.37 + step) % 11)
    for place, number in enumerate(by_x):
        reached = 9 if place == 0 else 3 if place < 3 else 1
        lines = (shell.cwd / f"runs/{name}/trials/{number:05d}/trace").read_text().splitlines()
        assert [int(line.split()[0]) for line in lines] == list(range(1, reached + 1))
        assert [float(line.split()[1]) for line in lines] == pytest.approx(states[1 : reached + 1])
        assert rows[number]["attempts"] == {9: 3, 3: 2, 1: 1}[reached]
        assert rows[number]["eval_loss"] == pytest.approx(rows[number]["x"] + 1 / reached)


def whys(shell: Shell, name: str) -> list[str]:
    return [a["why"] for plan in shell.plans(name) for a in plan["assignments"] if a["why"]]


@pytest.mark.parametrize(("algorithm", "losers"), [("asha", "PAUSED"), ("successive_halving", "PRUNED")])
def test_on_one_machine(shell, write_study, algorithm, losers):
    waves = {"size": 9} if algorithm == "asha" else {}
    path = study(shell, write_study, "halved", algorithm, backend="local", waves={**waves, "max_concurrent": 2})
    shell.ok("launch", str(path))
    check(shell, "halved")
    assert sorted(row["state"] for row in shell.rows("halved")) == ["COMPLETE", *[losers] * 8]
    assert [len(plan["assignments"]) for plan in shell.plans("halved")] == [9, 3, 1, 0]
    assert [why.split(":")[0] for why in whys(shell, "halved")] == ["rung 1"] * 3 + ["rung 3"]
    if losers == "PRUNED":
        (reason,) = {row["reason"].split(":")[0] for row in shell.rows("halved") if row["attempts"] == 2}
        assert reason == "rung 3"


@pytest.mark.slurm
@pytest.mark.usefixtures("slurm_cluster")
def test_on_slurm(shell, write_study, wait_until):
    """One study that promotes, and beside it two that stop."""
    shell.ok("launch", str(study(shell, write_study, "promoted", "asha", waves={"size": 9})))
    shell.ok("launch", str(test_stopping.study(shell, write_study, "stopped", waves={"max_concurrent": 4})))
    shell.ok("launch", str(test_stopping.median_study(shell, write_study, "compared")))
    wait_until(lambda: all(map(shell.has_finished, ("promoted", "stopped", "compared"))), 240)
    check(shell, "promoted")
    test_stopping.check(shell, "stopped")
    test_stopping.check_median(shell, "compared")
    first = [record for record in shell.starts("promoted") if record["resumed_from"]]
    assert len(first) == 4 and all("step-" in record["resumed_from"] for record in first)


# The same script whatever its stage: it never asks for the last step, and nothing of it is saved.
HEEDLESS = """
from hposlurm import client
for step in range(1, 10):
    client.report(step=step, eval_loss=client.params()["x"] + 1 / step)
"""


def test_a_script_that_does_not_look_at_max_step_is_trained_once_and_told(shell, write_study):
    """Five fully trained trials stayed PAUSED with the value of the wrong step, and others were trained again."""
    (shell.cwd / "training.py").write_text(HEEDLESS)
    search = {"algorithm": "asha", "seed": 1, "min_resource": 1, "max_resource": 9}
    sections = {"search": search, "budget": {"n_trials": 6}, "waves": {"max_concurrent": 2}, "backend": "local"}
    shell.ok("launch", str(write_study("heedless", f"{sys.executable} training.py", **sections)))
    rows = shell.rows("heedless")
    assert [(row["state"], row["step"], row["attempts"]) for row in rows] == [("COMPLETE", 9, 1)] * 6
    assert all(row["eval_loss"] == pytest.approx(row["x"] + 1 / 9) for row in rows)
    remark = "6 trials went past the step at which the search compares them (trial 0: step 9, assigned 1)"
    assert remark in shell.run("collect", "heedless").stderr
    assert remark in " ".join(shell.ok("status", "heedless").split())
    assert remark in shell.ok("explain", "heedless")
    story = shell.ok("explain", "heedless", "0")
    (first,) = [row for row in rows if row["trial"] == 0]
    assert f"from step 0 to step 1: complete with eval_loss={first['x'] + 1:.4g}"[:50] in story
    assert "it went on to step 9, past the 1 that was assigned" in story
