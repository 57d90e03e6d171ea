"""Spaces and stopping rules from the study file to the result table, on this machine."""

from __future__ import annotations

import json

import pytest

COMMAND = (
    "python -c 'import sys; from hposlurm import client; x = float(sys.argv[1]); "
    "client.report(step=1, eval_loss=1 - x, peak=40 * x)' {{ x }} {{ flags }}"
)
LOCAL = {"backend": "local", "waves": {"size": 2, "max_concurrent": 2, "mode": "barrier"}}


def test_feasible_trials_come_first_and_the_others_say_why(shell, write_study):
    queue = [{"x": 0.9}, {"x": 0.25}, {"x": 0.5}, {"x": 0.6}]
    limited = {"constraints": ["peak <= 20"], "metrics": ["peak"], "search": {"algorithm": "random", "enqueue": queue}}
    shell.ok("launch", str(write_study("limited", COMMAND, **LOCAL, **limited)))
    rows = shell.rows("limited")
    assert [row["x"] for row in rows] == [0.5, 0.25, 0.6, 0.9]
    assert [row["reason"] for row in rows] == [
        None,
        None,
        "infeasible: peak <= 20: peak is 24",
        "infeasible: peak <= 20: peak is 36",
    ]
    assert json.loads(shell.ok("best", "limited", "--format", "json"))[0]["params"] == {"x": 0.5}
    assert shell.status("limited")["best"]["trial"] == 2


def test_the_queue_is_tried_first_within_nested_conditions_and_without_what_is_forbidden(shell, write_study):
    space = {
        "parameters": {
            "x": {"type": "float", "min": 0.0, "max": 1.0, "step": 0.5},
            "optimizer": {"choices": ["adamw", "sgd"]},
        },
        "conditionals": [
            {
                "if": "optimizer == 'sgd'",
                "then": {"momentum": {"choices": [0.5, 0.9]}},
                "conditionals": [{"if": "momentum > 0.6", "then": {"nesterov": {"choices": [True, False]}}}],
            }
        ],
        "forbidden": ["x > 0.6 and optimizer == 'sgd'", {"optimizer": "adamw", "x": 0.0}],
    }
    search = {"search": {"algorithm": "grid", "enqueue": [{"nesterov": False, "x": 0.5}]}, "budget": {}}
    shell.ok("launch", str(write_study("deep", COMMAND, **LOCAL, **space, **search)))
    rows = sorted(shell.rows("deep"), key=lambda row: row["trial"])
    first = {name: rows[0][name] for name in ("x", "optimizer", "momentum", "nesterov")}
    assert first == {"x": 0.5, "optimizer": "sgd", "momentum": 0.9, "nesterov": False}
    found = {(row["x"], row["optimizer"], row["momentum"], row["nesterov"]) for row in rows}
    sgd = {(x, "sgd", *rest) for x in (0.0, 0.5) for rest in ((0.5, None), (0.9, True), (0.9, False))}
    assert found == sgd | {(0.5, "adamw", None, None), (1.0, "adamw", None, None)} and len(rows) == 8


def test_a_warm_start_is_reported_frozen_and_neither_counted_nor_shown(shell, write_study):
    shell.ok("launch", str(write_study("older", COMMAND, **LOCAL, budget={"n_trials": 6})))
    shell.ok("collect", "older", "-o", "older.csv")
    xs = [row["x"] for row in shell.rows("older")]
    narrow = {"x": {"type": "float", "min": 0.0, "max": sorted(xs)[3]}}
    sources = ["runs/older", {"study": "../older", "best": 2}, {"csv": "older.csv"}]
    search = {"algorithm": "tpe", "startup_trials": 3, "warm_start": sources}
    study = write_study("newer", COMMAND, **LOCAL, parameters=narrow, search=search, budget={"n_trials": 3})
    said = [line for line in shell.ok("check", str(study)).splitlines() if line.startswith("warm start: ")]
    assert "4 of 6 trials of" in said[0] and "(left out: 2 with x out of its range)" in said[0]
    assert "2 of 6 trials of" in said[1] and "2 not among the best 2" in said[1]
    assert "4 of 6 trials of" in said[2] and "older.csv" in said[2]
    assert [line for line in shell.ok("launch", str(study)).splitlines() if line.startswith("warm start: ")] == said
    frozen = json.loads((shell.cwd / "runs" / "newer" / "warm_start.json").read_text())
    assert [trial["number"] for trial in frozen["trials"]] == list(range(-1, -11, -1))
    assert len(shell.rows("newer")) == 3
    assert [a["attrs"]["origin"] for plan in shell.plans("newer") for a in plan["assignments"]] == ["tpe"] * 3
    changed = write_study("older", COMMAND, **LOCAL, search={"algorithm": "tpe", "warm_start": ["runs/newer"]})
    assert "runs/older was launched without it, and its settings are frozen" in shell.ok("check", str(changed))


def test_what_the_algorithm_does_not_use_is_said_before_anything_runs(shell, write_study):
    search = {"search": {"algorithm": "random", "startup_trials": 5}, "budget": {"n_trials": 1}}
    study = str(write_study("idle", COMMAND, **LOCAL, **search))
    note = "note: search.startup_trials is not used by random"
    assert note in shell.ok("check", study) and note in shell.ok("launch", study)


def test_a_source_that_is_not_there_is_named_with_what_is(shell, write_study):
    search = {"algorithm": "tpe", "warm_start": ["runs/oldr"]}
    shell.ok("launch", str(write_study("older", COMMAND, **LOCAL, budget={"n_trials": 1})))
    done = shell.run("check", str(write_study("newer", COMMAND, **LOCAL, search=search)))
    assert done.returncode == 2
    assert "search.warm_start.0: there is no study" in done.stderr and "did you mean older?" in done.stderr


def test_the_space_of_a_study_can_change_and_its_old_trials_stay_in_the_results(shell, write_study):
    shell.ok("launch", str(write_study("moved", COMMAND, **LOCAL)))
    xs = sorted(row["x"] for row in shell.rows("moved"))
    out = shell.ok("resume", "moved", "--set", f"parameters.x.max={xs[1]}", "--set", "budget.n_trials=8")
    assert "the space has changed: 2 of 4 earlier trials lie in it; the other 2 stay in the results" in out
    rows = shell.rows("moved")
    assert len(rows) == 8 and {row["x"] for row in rows} >= set(xs)
    assert all(row["x"] <= xs[1] for row in rows if row["trial"] > 3)
    done = shell.run("resume", "moved", "--set", "parameters.y={choices: [1]}")
    assert done.returncode == 2 and "y: no parameter can be added" in done.stderr
    done = shell.run("resume", "moved", "--set", "parameters.x={choices: [0.5]}")
    assert done.returncode == 2 and "x: its type cannot change from float to categorical" in done.stderr


def test_a_study_ends_at_its_target(shell, write_study):
    queue = [{"x": 0.1}, {"x": 0.2}, {"x": 0.9}, {"x": 0.3}]
    search = {"algorithm": "random", "enqueue": queue}
    study = write_study("goal", COMMAND, **LOCAL, search=search, budget={"n_trials": 100, "target": 0.15})
    assert "target: eval_loss 0.1 reached 0.15" in shell.ok("launch", str(study))
    assert len(shell.rows("goal")) == 4
    status = shell.status("goal")
    assert status["detail"] == "target: eval_loss 0.1 reached 0.15"
    assert status["budget"]["target"]["limit"] == 0.15


def test_a_study_ends_where_no_trial_can_gain_more_than_the_noise(shell, write_study):
    pytest.importorskip("torch")
    budget, waves = {"n_trials": 40, "terminator": 1000.0}, {"size": 20, "max_concurrent": 2, "mode": "barrier"}
    study = write_study("still", COMMAND, backend="local", waves=waves, budget=budget)
    assert "terminator: at most " in shell.ok("launch", str(study))
    assert len(shell.rows("still")) == 20
