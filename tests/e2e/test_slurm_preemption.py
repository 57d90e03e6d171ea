"""Save, leave, come back on real daemons: a job of higher priority takes the GPUs of a trial away."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from hposlurm.backend.queries import ask
from hposlurm.records import journal
from tests.e2e.loop import LOOP, expected

pytestmark = [pytest.mark.slurm, pytest.mark.usefixtures("slurm_cluster")]


def trial_study(write_study, name: str, *words: object, **sections):
    arguments = " ".join(map(str, words))
    return write_study(
        name,
        f"python loop.py {arguments} && echo {{{{ x }}}}",
        budget={"n_trials": 1},
        resources={"gpus_per_node": 4, "gpu_type": "v100", "mem_gb": 0.5, "time": "00:05:00"},
        **sections,
    )


def attempts(shell, study: str) -> list[list[dict]]:
    directory = shell.cwd / "runs" / study / "trials" / "00000"
    return [list(journal.read(path).records) for path in sorted(directory.glob("attempt-*.jsonl"))]


def trace(shell, study: str) -> list[tuple[int, int]]:
    path = shell.cwd / "runs" / study / "trials" / "00000" / "trace"
    return (
        [(int(a), int(s)) for a, s in (line.split() for line in path.read_text().splitlines())] if path.exists() else []
    )


def preempt(node: str, seconds: int) -> str:
    """Takes all GPUs of the node for so long; the job's id."""
    options = ["--parsable", "--partition=urgent", f"--nodelist={node}", "--gpus-per-node=v100:4", "--mem=100"]
    done = subprocess.run(
        ["sbatch", *options, "--output=/dev/null", "--time=2", f"--wrap=sleep {seconds}"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout.strip()


@pytest.mark.parametrize("partition", ["grace", "batch"])
def test_a_preempted_trial_goes_on_at_the_step_that_it_saved(shell, write_study, wait_until, partition):
    """With a grace period of 10 s, and without one, where KillWait is what is left (5 s)."""
    Path(shell.cwd / "loop.py").write_text(LOOP)
    steps = 40
    # it saves by itself only after 30 steps: what it goes on from is what it saved when it was asked to
    study = trial_study(write_study, "taken", steps, 30, 0.25, slurm={"partition": partition})
    shell.ok("launch", str(study))
    wait_until(lambda: len(trace(shell, "taken")) >= 3, 90)
    start = attempts(shell, "taken")[0][0]
    urgent = preempt(start["host"], 15)
    try:
        # a requeued job waits 20 s here, longer than the other one runs
        (lost,) = wait_until(lambda: [one for one in shell.status("taken")["lost"] if one["jobs"]], 60)
        assert (lost["node"], lost["trials"]) == (start["host"], [0])
        assert [(job["job_id"], job["partition"]) for job in lost["jobs"]] == [(urgent, "urgent")]
        wait_until(lambda: shell.has_finished("taken"), 400)
    finally:
        subprocess.run(["scancel", urgent], check=True)

    (row,) = shell.rows("taken")
    assert (row["state"], row["attempts"]) == ("COMPLETE", 2), shell.ok("status", "taken")
    assert row["eval_loss"] == pytest.approx(expected(steps), abs=1e-9)
    first, second = attempts(shell, "taken")
    end = first[-1]
    assert (end["kind"], end["outcome"], end["reason"]) == ("end", "interrupted", "SIGTERM (cancelled or preempted)")
    done = trace(shell, "taken")
    last_saved = max(record["step"] for record in first if record["kind"] == "checkpoint")
    assert last_saved == max(step for attempt, step in done if attempt == 0)
    assert [step for _, step in done] == list(range(1, steps + 1))  # none lost, none twice
    assert second[0]["resumed_from"].endswith(f"step-{last_saved}.json")


def test_a_trial_that_is_killed_without_a_word_goes_on_from_its_last_save(shell, write_study, wait_until):
    Path(shell.cwd / "loop.py").write_text(LOOP)
    steps, often = 40, 5
    study = trial_study(write_study, "killed", steps, often, 0.2)
    shell.ok("launch", str(study))
    wait_until(lambda: len(trace(shell, "killed")) >= 8, 90)
    job_id = attempts(shell, "killed")[0][0]["job_id"]
    ask("scontrol", "requeue", job_id)
    wait_until(lambda: shell.has_finished("killed"), 400)
    (row,) = shell.rows("killed")
    assert row["state"] == "COMPLETE", shell.ok("status", "killed")
    assert row["eval_loss"] == pytest.approx(expected(steps), abs=1e-9)
    done = trace(shell, "killed")
    repeated = len(done) - steps
    assert 0 <= repeated < often
    assert {step for _, step in done} == set(range(1, steps + 1))


EVALUATES = """
import json, os, sys, time
from hposlurm import client

steps, done, loss = 3, 0, 0.0
if client.resume_from():
    saved = json.loads(client.resume_from().read_text())
    done, loss = saved["step"], saved["loss"]
for step in range(done + 1, steps + 1):
    time.sleep(0.2)
    loss = float(sys.argv[1]) + 1 / step
    client.report(step=step, eval_loss=loss)
    path = client.checkpoint_dir() / f"step-{step}.json"
    path.write_text(json.dumps({"step": step, "loss": loss}))
    client.report_checkpoint(step, path)
if done < steps:
    open("evaluates", "w").close()
    time.sleep(600)
time.sleep(3)
"""


def test_a_trial_that_is_requeued_in_its_final_evaluation_is_complete(shell, write_study, wait_until):
    """Its second attempt continues from the last checkpoint, has nothing to train and reports nothing."""
    (shell.cwd / "evaluates.py").write_text(EVALUATES)
    study = write_study(
        "evaluated",
        "python evaluates.py {{ x }}",
        budget={"n_trials": 1},
        resources={"gpus_per_node": 2, "gpu_type": "v100", "mem_gb": 0.5, "time": "00:05:00"},
    )
    shell.ok("launch", str(study))
    wait_until((shell.cwd / "evaluates").exists, 90)
    ((start, *_),) = attempts(shell, "evaluated")
    wait_until(lambda: sum(r["kind"] == "checkpoint" for r in attempts(shell, "evaluated")[0]) == 3, 60)
    ask("scontrol", "requeue", start["job_id"])
    wait_until(lambda: shell.has_finished("evaluated"), 240)

    (row,) = shell.rows("evaluated")
    assert (row["state"], row["attempts"], row["step"]) == ("COMPLETE", 2, 3), shell.ok("status", "evaluated")
    assert row["eval_loss"] == pytest.approx(row["x"] + 1 / 3)
    first, second = attempts(shell, "evaluated")
    assert second[0]["resumed_from"].endswith("step-3.json")
    assert not [record for record in second if record["kind"] == "report"]
    spans = [records[-1]["t"] - records[0]["t"] for records in (first, second)]
    assert row["runtime"] == pytest.approx(sum(spans), abs=0.1)
    runs = ask("sacct", "-n", "-P", "-X", "-D", "-j", start["job_id"], "-o", "ElapsedRaw").split()
    assert len(runs) == 2 and row["gpu_hours"] == pytest.approx(2 * sum(map(int, runs)) / 3600)


SAVES_AT_A_SIGNAL = """
import json, pathlib, signal, sys, time

state, asked = pathlib.Path(sys.argv[1], "state.json"), []
signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
epoch = json.loads(state.read_text()) if state.exists() else 0
while epoch < 40:
    time.sleep(0.25)
    epoch += 1
    print(f"epoch {epoch} loss {1 / epoch}", flush=True)
    if asked:
        time.sleep(5)  # as long as a large checkpoint takes; without trial.stop_grace it has KillWait - 3 s
        state.write_text(json.dumps(epoch))
        sys.exit(0)
"""


def test_a_preempted_script_that_saves_at_a_signal_has_the_time_that_it_chose(shell, write_study, wait_until):
    """It knows nothing of requests. Slurm sends SIGTERM to the shell of the command as well, at the same time."""
    Path(shell.cwd / "t.py").write_text(SAVES_AT_A_SIGNAL)
    study = write_study(
        "signal",
        "",
        budget={"n_trials": 1},
        resources={"gpus_per_node": 4, "gpu_type": "v100", "mem_gb": 0.5, "time": "00:05:00"},
        trial={
            "command": "cd . && python t.py {{ trial_dir }} && echo {{ x }}",
            "metric_pattern": r"epoch (?P<step>\d+) loss (?P<eval_loss>\S+)",
            "stop_signal": "TERM",
            "stop_grace": "9s",
        },
        slurm={"partition": "grace"},
    )
    shell.ok("launch", str(study))
    wait_until(lambda: [r for one in attempts(shell, "signal") for r in one if r["kind"] == "report"], 90)
    urgent = preempt(attempts(shell, "signal")[0][0]["host"], 5)
    try:
        wait_until(lambda: shell.has_finished("signal"), 300)
    finally:
        subprocess.run(["scancel", urgent], check=True)
    first, second = attempts(shell, "signal")
    end = first[-1]
    assert (end["outcome"], end["reason"]) == ("interrupted", "SIGTERM (cancelled or preempted)")
    steps = [[record["step"] for record in one if record["kind"] == "report"] for one in (first, second)]
    assert steps[0] + steps[1] == list(range(1, 41))  # the second one went on from the script's own file
