"""The main job on real daemons: launch → waves of job arrays → real fine-tunes → store → next wave → collect."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hposlurm.backend.queries import ask, parse_sacct
from tests.e2e.conftest import REPOSITORY

pytestmark = [pytest.mark.slurm, pytest.mark.usefixtures("slurm_cluster")]

# Real SQuAD data where it lies beside the checkout (it is not shipped), else the project's own sample.
SQUAD = REPOSITORY.parent / "shared" / "data" / "squad-v1.1-excerpt.json"
SAMPLE = REPOSITORY / "experiments" / "data" / "squad-sample.json"
DATA = SQUAD if SQUAD.exists() else SAMPLE

FINETUNE = (
    f"torchrun --standalone --nproc-per-node={{{{ gpus }}}} {REPOSITORY}/scripts/finetune.py --model tiny-bloom "
    f"--data {DATA} --train-samples 32 --eval-samples 8 --max-length 128 --epochs 1 --max-steps 4 --zero-stage 2 "
    "--lr {{ lr }} --bs {{ bs }}"
)
REPORT = (
    "python -c 'import sys; from hposlurm import client; client.report(step=1, eval_loss=float(sys.argv[1]))' {{ x }}"
)


def overlapping(starts):
    return [(a, b) for i, a in enumerate(starts) for b in starts[:i] if a["t"] < b["until"] and b["t"] < a["until"]]


@pytest.mark.long(120)
@pytest.mark.train
def test_a_study_goes_on_without_the_shell_that_launched_it(shell, write_study, wait_until):
    study = write_study(
        "tpe",
        FINETUNE,
        parameters={
            "lr": {"type": "float", "min": 1e-4, "max": 1e-2, "log": True, "default": 1e-3},
            "bs": {"choices": [2, 4]},
        },
        search={"algorithm": "tpe", "seed": 3},
        budget={"n_trials": 9},
        waves={"size": 3},
        resources={"gpus_per_node": 2, "gpu_type": "v100", "cpus_per_task": 2, "mem_gb": 4, "time": "00:20:00"},
    )
    # a login shell of its own, with a child that would be there after launch; then the whole process group is killed
    begun = time.monotonic()
    line = f'"{sys.executable}" -P -m hposlurm launch "{study}" >launch.out 2>&1; echo $? >launch.rc; exec sleep 1000'
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    login = subprocess.Popen(["bash", "-c", line], cwd=shell.cwd, env=environment, start_new_session=True)
    wait_until(lambda: (shell.cwd / "launch.rc").exists() and (shell.cwd / "launch.rc").read_text(), 60)
    took = time.monotonic() - begun
    os.killpg(login.pid, signal.SIGKILL)
    login.wait()
    assert (shell.cwd / "launch.rc").read_text().strip() == "0", (shell.cwd / "launch.out").read_text()
    print(f"launch returned after {took:.2f} s")  # shown with -rP; speed is measured elsewhere

    wait_until(lambda: shell.has_finished("tpe"), 900)
    rows = shell.rows("tpe")
    assert [row["state"] for row in rows] == ["COMPLETE"] * 9, shell.ok("status", "tpe")
    assert sorted(row["wave"] for row in rows) == [0] * 3 + [1] * 3 + [2] * 3
    assert [row["eval_loss"] for row in rows] == sorted(row["eval_loss"] for row in rows)

    starts = shell.starts("tpe")
    assert {start["gpus"] for start in starts} == {2}
    gpus = [{(s["host"], gpu) for gpu in s["gpu_ids"].split(",")} for s in starts]
    assert {len(found) for found in gpus} == {2}
    by_id = {id(s): found for s, found in zip(starts, gpus, strict=True)}
    assert not any(by_id[id(a)] & by_id[id(b)] for a, b in overlapping(starts))
    assert overlapping(starts)

    # GPU hours are those of the accounting, every attempt of them
    arrays = sorted({start["job_id"].partition("_")[0] for start in starts})
    assert len(arrays) == 3
    sacct = parse_sacct(
        ask("sacct", "-n", "-P", "-X", "-D", "-j", ",".join(arrays), "-o", "JobID,State,ElapsedRaw,AllocTRES,NodeList")
    )
    said = {job: sum(u.elapsed_s * u.gpus for u in usage) / 3600 for job, usage in sacct.items()}
    assert sum(row["gpu_hours"] for row in rows) == pytest.approx(sum(said.values()), rel=0.05)
    # what the workers' own clocks would have said, within a second per attempt
    for start in starts:
        assert start["until"] - start["t"] == pytest.approx(said[start["job_id"]] * 1800, abs=1.5, rel=0.05)


def test_bad_trials_fail_with_their_reason_and_the_study_goes_on(shell, write_study, wait_until):
    script = shell.cwd / "trial.py"
    script.write_text(
        "import sys\nfrom hposlurm import client\n"
        "kind = sys.argv[1]\n"
        "print('words of', kind, flush=True)\n"
        "if kind == 'crash': raise ValueError('the loss exploded')\n"
        "if kind == 'garbage': client.report(step=1, eval_loss='oops')\n"
        "if kind == 'nan': client.report(step=1, eval_loss=float('nan'))\n"
        "if kind == 'good': client.report(step=1, eval_loss=1.0)\n"
    )
    study = write_study(
        "bad",
        "python trial.py {{ kind }}",
        parameters={"kind": {"choices": ["crash", "garbage", "nan", "silent", "good"]}},
        search={"algorithm": "grid"},
        budget={},
        waves={"size": 2},
    )
    shell.ok("launch", str(study))
    wait_until(lambda: shell.has_finished("bad"), 180)
    rows = {row["kind"]: row for row in shell.rows("bad")}
    assert {kind: row["state"] for kind, row in rows.items()} == {
        "crash": "FAIL", "garbage": "FAIL", "nan": "FAIL", "silent": "FAIL", "good": "COMPLETE",
    }  # fmt: skip
    for kind, words in {
        "crash": "ValueError: the loss exploded", "garbage": "'oops'", "nan": "nan", "silent": "no metrics",
    }.items():  # fmt: skip
        assert words in rows[kind]["reason"], rows[kind]
    shown = shell.ok("status", "bad")
    assert all(f"words of {kind}" in shown for kind in ("garbage", "nan", "silent"))
    assert "ValueError: the loss exploded" in shown  # the end of a traceback is what is shown of it


def test_two_thousand_trials_are_two_chunks(shell, write_study, wait_until):
    study = write_study(
        "many",
        REPORT,
        parameters={"x": {"type": "int", "min": 1, "max": 50}, "y": {"type": "int", "min": 1, "max": 40}},
        search={"algorithm": "grid"},
        budget={},
        waves={"max_concurrent": 2},
    )
    out = shell.ok("launch", str(study))
    assert out.count("(1000 elements)") == 2
    plan = shell.plans("many")[0]
    assert len({a["signature"] for a in plan["assignments"]}) == 2000
    wait_until(lambda: len(shell.starts("many")) >= 3, 120)
    assert sum(shell.status("many")["counts"].values()) == 2000
    shell.ok("cancel", "many")
    wait_until(lambda: not shell.queued("many"), 120)
    # afterany fires after scancel too: nothing further may be submitted
    assert [p["wave"] for p in shell.plans("many")] == [0]


def test_cancel_and_resume(shell, write_study, wait_until):
    until_go = "until [ -e go ]; do sleep 0.2; done"
    waves = {"size": 2, "mode": "barrier"}
    study = write_study("stopped", f"{until_go}; {REPORT}", waves=waves, budget={"n_trials": 6})
    shell.ok("launch", str(study))
    wait_until(lambda: shell.starts("stopped"), 60)
    shell.ok("cancel", "stopped")
    assert shell.status("stopped")["phase"] == "stopped"
    wait_until(lambda: not shell.queued("stopped"), 120)
    assert len(shell.plans("stopped")) == 1
    (shell.cwd / "go").touch()
    shell.ok("resume", "stopped")
    wait_until(lambda: shell.has_finished("stopped"), 180)
    assert [row["state"] for row in shell.rows("stopped")] == ["COMPLETE"] * 6


def test_a_refused_launch_leaves_nothing_behind(shell, write_study):
    study = write_study("refused", REPORT, slurm={"extra": {"no-such-option": "1"}})
    done = shell.run("launch", str(study))
    assert done.returncode == 1
    assert "sbatch refused" in done.stderr and "no-such-option" in done.stderr and "Traceback" not in done.stderr
    assert not (shell.cwd / "runs" / "refused").exists()


def test_more_gpus_than_any_node_has_is_a_wrong_request(shell, write_study):
    study = write_study("greedy", REPORT, resources={"gpus_per_node": 9, "gpu_type": "v100"})
    for verb in ("check", "launch"):
        done = shell.run(verb, str(study))
        assert done.returncode == 2
        assert (
            "resources.gpus_per_node: 9 requested, but the largest node of partition 'batch' has 4 GPUs" in done.stderr
        )
    assert not (shell.cwd / "runs").exists()


def test_wait_follows_a_study_to_its_end(shell, write_study):
    study = write_study("followed", REPORT)
    out = shell.ok("launch", str(study), "--wait")
    assert "4 of 4 trials are done" in out
