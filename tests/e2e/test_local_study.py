"""The main job without Slurm: the local backend, driven from a terminal."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.loop import LOOP, expected

COMMAND = (
    "python -c 'import sys, time; from hposlurm import client; time.sleep({{ seconds }}); "
    "client.report(step=1, eval_loss=float(sys.argv[1]))' {{ x }}"
)


@pytest.fixture
def local_study(write_study):
    def write(name, *, seconds=0.0, **sections):
        command = COMMAND.replace("{{ seconds }}", str(seconds))
        sections = {"backend": "local", "waves": {"size": 2, "max_concurrent": 2, "mode": "barrier"}, **sections}
        return write_study(name, command, **sections)

    return write


def start(shell, *words):
    """`hposlurm …` as a terminal would start it: a process group of its own, to which Ctrl-C goes."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = [sys.executable, "-P", "-m", "hposlurm", *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=shell.cwd, env=environment, start_new_session=True, **pipes)


def test_a_study_runs_to_its_end_and_can_be_read_everywhere(shell, local_study):
    out = shell.ok("launch", str(local_study("whole", search={"algorithm": "tpe", "seed": 1})))
    assert "4 of 4 trials are done" in out
    rows = shell.rows("whole")
    assert [row["state"] for row in rows] == ["COMPLETE"] * 4
    assert rows[0]["eval_loss"] == min(row["x"] for row in rows)
    database = sqlite3.connect(f"file:{shell.cwd}/runs/whole/study.db?immutable=1", uri=True)
    assert database.execute("select count(*) from results where state = 'COMPLETE'").fetchone() == (4,)
    database.close()
    assert (shell.cwd / "runs" / "whole").stat().st_mode & 0o777 == 0o700
    before = (shell.cwd / "runs" / "whole" / "results.csv").read_bytes()
    shell.ok("rebuild", "whole")
    assert (shell.cwd / "runs" / "whole" / "results.csv").read_bytes() == before


def test_launching_the_same_study_again_runs_nothing_twice(shell, local_study):
    study = local_study("again")
    shell.ok("launch", str(study))
    starts = shell.starts("again")
    done = shell.run("launch", str(study))
    assert done.returncode == 0 and "launched already" in done.stderr
    assert shell.starts("again") == starts


def test_ctrl_c_leaves_a_study_that_resume_continues(shell, local_study, wait_until):
    (shell.cwd / "seconds").write_text("600")
    process = start(shell, "launch", str(local_study("broken", seconds='float(open("seconds").read())')))
    wait_until(lambda: len(shell.starts("broken")) == 2, 30)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "hposlurm resume broken" in said, said
    status = shell.ok("status", "broken")
    assert "interrupted (the process that drove it has ended)" in status and "queue" not in status, status
    assert "next: hposlurm resume broken" in status
    (shell.cwd / "seconds").write_text("0")
    shell.ok("resume", "broken")
    rows = shell.rows("broken")
    assert [row["state"] for row in rows] == ["COMPLETE"] * 4
    assert sorted(row["attempts"] for row in rows) == [1, 1, 2, 2]


def test_a_killed_driver_leaves_a_study_that_resume_continues(shell, local_study, wait_until):
    process = start(shell, "launch", str(local_study("killed", seconds=1.5)))
    wait_until(lambda: len(shell.starts("killed")) == 2, 30)
    process.kill()
    process.communicate()
    shell.ok("resume", "killed")
    assert [row["state"] for row in shell.rows("killed")] == ["COMPLETE"] * 4


def test_a_second_driver_is_turned_away(shell, local_study, wait_until):
    process = start(shell, "launch", str(local_study("driven", seconds=3)))
    wait_until(lambda: len(shell.starts("driven")) == 2, 30)
    done = shell.run("resume", "driven")
    assert done.returncode == 1 and "another process drives this study" in done.stderr
    process.communicate(timeout=120)
    assert process.returncode == 0
    assert [row["attempts"] for row in shell.rows("driven")] == [1] * 4


def test_cancel_from_another_shell_ends_a_local_study(shell, local_study, wait_until):
    process = start(shell, "launch", str(local_study("stopped", seconds=600)))
    wait_until(lambda: len(shell.starts("stopped")) == 2, 30)
    shell.ok("cancel", "stopped")
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert shell.status("stopped")["phase"] == "stopped"
    assert len(shell.plans("stopped")) == 1


def test_a_study_of_failures_ends_with_status_1(shell, write_study):
    done = shell.run("launch", str(write_study("hopeless", "false {{ x }}", backend="local")))
    assert done.returncode == 1
    assert "no trial completed" in done.stderr and "hposlurm status hopeless" in done.stderr


def test_a_pattern_on_the_output_is_enough_for_any_language(shell, write_study):
    study = write_study(
        "anything",
        "sh -c 'echo epoch 1 loss 3.5; echo epoch 2 loss \"$1\"' sh {{ x }}",
        backend="local",
        trial={
            "command": "sh -c 'echo epoch 1 loss 3.5; echo epoch 2 loss \"$1\"' sh {{ x }}",
            "metric_pattern": r"epoch (?P<step>\d+) loss (?P<eval_loss>\S+)",
        },
    )
    shell.ok("launch", str(study))
    assert all(row["eval_loss"] == row["x"] for row in shell.rows("anything"))


def test_a_hostile_choice_arrives_in_the_script_as_that_string(shell, write_study):
    hostile = '"; touch owned; echo "'
    study = write_study(
        "hostile",
        "python -c 'import sys; print(repr(sys.argv[1:]))' {{ x }}",
        backend="local",
        parameters={"x": {"choices": [hostile]}},
        search={"algorithm": "grid"},
        budget={},
    )
    shell.run("launch", str(study))
    assert repr([hostile]) in shell.ok("logs", "hostile", "0")
    assert not (shell.cwd / "owned").exists()


def test_a_trial_that_hangs_is_ended_and_goes_on_from_what_it_saved(shell, write_study):
    """Its first attempt hangs after step 4, which it saved; the second one has no reason to."""
    hang = '    if os.environ["HPOSLURM_ATTEMPT"] == "0" and step == 5: time.sleep(1000)\n    state ='
    (shell.cwd / "loop.py").write_text(LOOP.replace("    state =", hang))
    trial = {"command": "python loop.py 8 2 0.02 && echo {{ x }}", "timeout": 3, "retries": 1}
    study = write_study("hung", "", backend="local", budget={"n_trials": 1}, trial=trial)
    shell.ok("launch", str(study))
    (row,) = shell.rows("hung")
    assert (row["state"], row["attempts"]) == ("COMPLETE", 2)
    assert row["eval_loss"] == pytest.approx(expected(8), abs=1e-9)
    directory = shell.cwd / "runs" / "hung" / "trials" / "00000"
    assert (directory / "trace").read_text().split("\n")[:-1] == [f"{int(step > 4)} {step}" for step in range(1, 9)]


# What hposlurm.client documents, with a long evaluation at the end of the first attempt of each trial.
FINAL_EVALUATION = """
import os, sys, time
from hposlurm import client

done = int(client.resume_from().name.split("-")[1]) if client.resume_from() else 0
for epoch in range(done + 1, 4):
    folder = client.checkpoint_dir() / f"epoch-{epoch}"
    folder.mkdir(exist_ok=True)
    client.report(epoch, eval_loss=float(sys.argv[1]) + 1 / epoch)
    client.report_checkpoint(epoch, folder)
    if client.should_stop():
        break
if os.environ["HPOSLURM_ATTEMPT"] == "0":
    time.sleep(1000)
"""


def test_trials_that_lose_their_workers_in_the_final_evaluation_complete_with_what_they_reported(
    shell, write_study, wait_until
):
    (shell.cwd / "final.py").write_text(FINAL_EVALUATION)
    trial = {"command": "python final.py {{ x }}", "retries": 1}
    study = write_study("final", "", backend="local", budget={"n_trials": 2}, trial=trial)
    process = start(shell, "launch", str(study))
    journals = shell.cwd / "runs" / "final" / "trials"
    wait_until(lambda: sum("epoch-3" in p.read_text() for p in journals.glob("*/attempt-0.jsonl")) == 2, 60)
    for attempt in shell.starts("final"):
        os.kill(attempt["pid"], signal.SIGKILL)
    assert process.communicate(timeout=120)[1] is not None and process.returncode == 0
    rows = shell.rows("final")
    assert [(row["state"], row["attempts"], row["step"]) for row in rows] == [("COMPLETE", 2, 3)] * 2
    assert [row["eval_loss"] for row in rows] == [pytest.approx(row["x"] + 1 / 3) for row in rows]


def test_failed_trials_run_again_once_the_disk_is_mended(shell, write_study):
    study = write_study(
        "mended",
        "test -e disk_is_ok || test {{ lr }} -le 2 && echo loss {{ lr }}",
        backend="local",
        objectives=[{"name": "loss"}],
        parameters={"lr": {"choices": [1, 2, 3, 4]}},
        search={"algorithm": "grid"},
        budget={},
        waves={"max_concurrent": 2},
    )
    study.write_text(study.read_text().replace("trial:\n", "trial:\n  metric_pattern: '^loss (?P<loss>\\S+)'\n"))
    shell.run("launch", str(study))
    lost = [row["trial"] for row in shell.rows("mended") if row["state"] == "FAIL"]
    assert len(lost) == 2
    refused = shell.run("retry", "mended", str(next(n for n in range(4) if n not in lost)))
    assert refused.returncode == 2 and "has not failed, it is COMPLETE" in refused.stderr
    (shell.cwd / "disk_is_ok").touch()
    assert f"again:     trial {lost[0]}\n" in shell.ok("retry", "mended", str(lost[0]))
    assert f"again:     trial {lost[1]}\n" in shell.ok("resume", "mended", "--retry-failed")
    rows = shell.rows("mended")
    assert [row["state"] for row in rows] == ["COMPLETE"] * 4
    assert {row["trial"]: row["attempts"] for row in rows} == {n: 2 if n in lost else 1 for n in range(4)}
    nothing = shell.run("retry", "mended")
    assert nothing.returncode == 2 and "no trial has failed" in nothing.stderr


def test_a_study_in_which_everything_fails_pauses(shell, write_study):
    study = write_study(
        "wrong", "python no_such_file.py {{ x }}", backend="local", budget={"n_trials": 20}, waves={"max_concurrent": 2}
    )
    done = shell.run("launch", str(study))
    assert done.returncode == 1 and "no trial completed" in done.stderr
    assert "paused: the first trials all failed, and none completed: command exited with status 2" in done.stdout
    ways = "hposlurm retry wrong    (runs the failed trials again)", "hposlurm resume wrong   (goes on without them)"
    assert all(way in done.stdout and way in shell.ok("status", "wrong") for way in ways)
    assert shell.status("wrong")["phase"] == "paused"
    started = {start["trial"] for start in shell.starts("wrong")}
    assert 3 <= len(started) <= 4  # the second of a pair may start before the third has ended
    (shell.cwd / "no_such_file.py").write_text(
        "import sys; from hposlurm import client; client.report(step=1, eval_loss=float(sys.argv[1]))"
    )
    shell.ok("retry", "wrong")
    assert [row["state"] for row in shell.rows("wrong")] == ["COMPLETE"] * 20


CANARY = """
import pathlib, sys, time
from hposlurm import client

begin = int(client.resume_from().read_text()) if client.resume_from() else 0
for step in range(begin + 1, 200):
    client.report(step=step, eval_loss=1.0 / step)
    time.sleep(0.05)
    if client.should_stop():
        path = client.checkpoint_dir() / f"step-{step}"
        path.write_text(str(step))
        client.report_checkpoint(step, path)
        sys.exit(0)
"""


@pytest.mark.parametrize("verb", ["check", "launch"])
def test_a_canary_reports_saves_and_resumes_before_the_rest_is_launched(shell, write_study, verb):
    (shell.cwd / "train.py").write_text(CANARY)
    study = write_study("careful", "python train.py {{ x }}", backend="local", budget={"n_trials": 1})
    done = shell.run(verb, str(study), "--run" if verb == "check" else "--canary")
    said = [line for line in done.stdout.splitlines() if line.startswith("canary: it ")]
    assert len(said) == 3, done.stdout + done.stderr
    assert said[0].startswith("canary: it reported eval_loss ")
    assert said[1].startswith("canary: it saved step-") and said[2].startswith("canary: it resumed from step-")
    left = {path.name for path in (shell.cwd / "runs").iterdir()}
    assert left == (set() if verb == "check" else {"careful"})


def test_a_canary_that_fails_launches_nothing(shell, write_study):
    study = write_study("doomed", "python no_such_file.py {{ x }}", backend="local")
    done = shell.run("launch", str(study), "--canary")
    assert done.returncode == 1
    assert "error: the canary failed: command exited with status 2" in done.stderr
    assert "can't open file" in done.stderr and "its files: " in done.stderr
    assert not (shell.cwd / "runs" / "doomed").exists()


def test_a_trial_that_deletes_its_study_ends_the_driver_with_a_sentence(shell, write_study):
    command = 'rm -rf "$HPOSLURM_STUDY_DIR"; echo {{ x }}'
    done = shell.run("launch", str(write_study("gone", command, backend="local", waves={"max_concurrent": 1})))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr and done.stderr.splitlines()[-1].startswith("error: ")
    assert "gone" in done.stderr.splitlines()[-1]
    assert not (shell.cwd / "runs" / "gone" / "study.yaml").exists()


def test_the_edited_file_is_taken_with_its_differences_shown(shell, local_study):
    sections = {"trial": {"command": COMMAND.replace("{{ seconds }}", "0")}, "tags": {"owner": "me"}}
    study = local_study("edited", **sections)
    shell.ok("launch", str(study))
    text = study.read_text()
    study.write_text(text.replace("n_trials: 4", "n_trials: 6").replace("max: 1.0", "max: 2.0"))
    refused = shell.run("launch", str(study))
    assert refused.returncode == 2
    assert "parameters.x.max: 1.0 → 2.0; budget.n_trials: 4 → 6" in refused.stderr
    assert "hposlurm resume edited --from " in refused.stderr and len(shell.rows("edited")) == 4
    out = shell.ok("resume", "edited", "--from", str(study))
    changed = [line for line in out.splitlines() if line.startswith("changed: ")]
    assert changed == ["changed:   parameters.x.max: 1.0 → 2.0", "changed:   budget.n_trials: 4 → 6"]
    assert "the space has changed: 4 of 4 earlier trials lie in it" in out
    rows = shell.rows("edited")
    assert len(rows) == 6 and max(row["x"] for row in rows) > 1
    assert "launched already with this spec" in shell.run("launch", str(study)).stderr  # it is the newest revision
    assert "changed:   nothing" in shell.ok("resume", "edited", "--from", str(study))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("n_trials: 4", "n_trials: -4", "budget.n_trials: must be at least 1"),
        ("name: eval_loss", "name: other_loss", "objectives: every trial was made with it"),
        ("name: fixed", "name: another", "name: every trial was made with it"),
        ("  x:", "  y:", "x: no parameter can be removed"),
    ],
)
def test_an_edited_file_that_cannot_be_taken_changes_nothing(shell, local_study, old, new, message):
    study = local_study("fixed")
    shell.ok("launch", str(study))
    text = study.read_text().replace(old, new)
    study.write_text(text.replace("{{ x }}", "{{ y }}") if new == "  y:" else text)
    done = shell.run("resume", "fixed", "--from", str(study))
    assert done.returncode == 2 and message in done.stderr, done.stderr
    assert not (shell.cwd / "runs" / "fixed" / "study.1.yaml").exists()
