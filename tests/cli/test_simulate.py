"""`launch --backend simulated`: what is printed and written, and that nobody takes it for a real study."""

from __future__ import annotations

import json

import pytest

STUDY = """\
name: bloom
objectives: [{name: loss}]
parameters: {x: {type: float, min: 0.0, max: 1.0}}
search: {algorithm: random, seed: 1}
budget: {n_trials: 6}
trial: {command: "train {{ x }}"}
resources: {gpus_per_node: 2, time: "01:00:00"}
"""
TRIAL = """\
def trial(params, from_step, to_step):
    for step in range(from_step + 1, (to_step or 3) + 1):
        yield step, {"loss": params["x"] + 1 / step}, (step - from_step) * 600.0
"""
COMMAND = ("launch", "study.yaml", "--backend", "simulated", "--simulate", "trial.py:trial", "--gpus", "4")


pytestmark = pytest.mark.usefixtures("place")


@pytest.fixture
def place(tmp_path, runs):  # noqa: ARG001 - which makes tmp_path the working directory
    (tmp_path / "study.yaml").write_text(STUDY)
    (tmp_path / "trial.py").write_text(TRIAL)
    return tmp_path


def test_the_cost_is_told_before_it_is_paid(run):
    done = run(*COMMAND)
    assert done.status == 0
    for words in (
        "bloom-simulated: 6 of 6 trials are done",
        "by trial.py:trial on 4 virtual GPUs (barrier): nothing was trained",
        "1h30m of virtual time",
        "100.0% of the time of the GPUs that the study may use at once; "
        "100.0% until the last new trial started (at 1h00m)",
        "6 of the 6 that the cluster has in this time",
        "6: 6 complete",
        "next:      hposlurm collect bloom-simulated",
    ):
        assert words in done.out
    assert [path.name for path in run.runs.iterdir()] == ["bloom-simulated"]
    assert "Launch it?" not in done.err


def test_every_verb_reads_it_and_says_that_it_was_simulated(run):
    run(*COMMAND)
    name = "bloom-simulated"
    status = run("status", name)
    assert "bloom-simulated: simulated (6 of 6 trials are done)" in status.out
    assert "by trial.py:trial on 4 virtual GPUs" in status.out
    data = json.loads(run("status", name, "--format", "json").out)
    assert (data["phase"], data["simulated"]["gpus"], data["simulated"]["wall_s"]) == ("simulated", 4, 5400.0)
    assert run("status", name, "--watch").status == 0
    listed = json.loads(run("list", "--format", "json").out)[0]
    assert (listed["study"], listed["phase"], listed["age_s"]) == (name, "simulated", None)
    for verb in ("collect", "best"):
        done = run(verb, name, "--format", "json")
        assert "bloom-simulated was simulated: nothing was trained" in done.err
        assert json.loads(done.out)[0]["loss" if verb == "collect" else "values"]
    assert len(json.loads(run("collect", name, "--format", "json").out)) == 6
    assert run("rebuild", name).status == run("gc", name).status == 0


@pytest.mark.parametrize("words", [["resume"], ["resume", "--set", "budget.n_trials=9"], ["advance"]])
def test_it_does_not_go_on(run, words):
    run(*COMMAND)
    done = run(words[0], "bloom-simulated", *words[1:])
    assert done.status == 2
    assert "was simulated as a whole and does not continue" in done.err
    assert "the study is over already" in run("cancel", "bloom-simulated").out
    assert "nothing ran, so there are no logs" in run("logs", "bloom-simulated", "0").err


def test_the_real_study_keeps_its_name(run):
    run(*COMMAND)
    done = run("launch", "study.yaml", "--backend", "local", "--dry-run")
    assert done.status == 0 and "bloom-simulated" not in done.out


def test_it_is_simulated_once_under_a_name(run):
    run(*COMMAND)
    again = run(*COMMAND)
    assert again.status == 2 and "exists already; simulate under another name" in again.err
    assert run(*COMMAND, "--set", "name=more", "--set", "simulation.queue=5m").status == 0
    assert {path.name for path in run.runs.iterdir()} == {"bloom-simulated", "more-simulated"}


def test_its_decisions_are_explained_from_its_records(run):
    rungs = ("--set", "search.algorithm=asha", "--set", "search.min_resource=1", "--set", "search.max_resource=3")
    assert run(*COMMAND, *rungs, "--set", "waves.mode=refill", "--set", "budget.n_trials=9").status == 0
    told = "".join(run("explain", "bloom-simulated", str(trial)).out for trial in range(9))
    assert told.count("recomputed from the records: the same decision") > 9
    assert "NOT the same" not in told and "sent on" in run("explain", "bloom-simulated").out


def test_a_dry_run_writes_nothing(run):
    done = run(*COMMAND, "--dry-run")
    assert done.status == 0 and "bloom-simulated would be simulated" in done.out
    assert not list(run.runs.iterdir())


def test_the_function_may_lie_beside_the_study(run, place):
    (place / "there").mkdir()
    for name in ("study.yaml", "trial.py"):
        (place / name).rename(place / "there" / name)
    for index, function in enumerate(("trial.py:trial", "trial:trial")):
        done = run("launch", "there/study.yaml", "--simulate", function, "--set", f"name=n{index}")
        assert done.status == 0, done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--backend", "simulated"], "simulation.function: is missing"),
        (["--simulate", "trial.py"], "MODULE:FUNCTION or FILE.py:FUNCTION"),
        (["--simulate", "nowhere.py:trial"], "there is no file"),
        (["--simulate", "trial.py:train"], "has no 'train'; functions there: trial"),
        (["--simulate", "trial.py:trial", "--backend", "local"], "--simulate is for --backend simulated"),
        (["--gpus", "4"], "--gpus is the size of a simulated cluster"),
        (["--simulate", "trial.py:trial", "--gpus", "1"], "a trial requests 2 GPUs, but the simulated cluster has 1"),
        (["--simulate", "trial.py:trial", "--set", "simulation.crashes=-1"], "simulation.crashes: must be at least 0"),
        (["--simulate", "trial.py:trial", "--set", "simulation.quue=1"], "did you mean queue?"),
        (["--simulate", "trial.py:bad"], "answered 7 instead of rows"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(run, place, words, said):
    if "trial.py:bad" in words:
        (place / "trial.py").write_text("def bad(params, from_step, to_step):\n    return 7\n")
    done = run("launch", "study.yaml", *words)
    assert (done.status, done.out.count("Traceback")) == (2, 0)
    assert said in done.err
    assert not list(run.runs.iterdir())


def test_a_function_that_always_fails_is_a_failed_study(run, place):
    (place / "trial.py").write_text("def trial(params, from_step, to_step):\n    raise ValueError('no data')\n")
    done = run(*COMMAND)
    assert done.status == 1 and "no trial completed" in done.err
    assert "no data" in run("status", "bloom-simulated").out
