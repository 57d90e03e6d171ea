"""What a trial's command finds of its job on real daemons, and that its own srun stays in it."""

from __future__ import annotations

import pytest

from hposlurm.backend.queries import ask

pytestmark = [pytest.mark.slurm, pytest.mark.usefixtures("slurm_cluster")]

REPORT = "import sys; from hposlurm import client; client.report(step=1, eval_loss=float(sys.argv[1]))"


def one_trial(shell, write_study, name: str, command: str, **slurm):
    (shell.cwd / "report.py").write_text(REPORT)
    return write_study(
        name,
        f"{command}; python report.py {{{{ x }}}}",
        budget={"n_trials": 1},
        resources={"gpus_per_node": 1, "gpu_type": "v100", "cpus_per_task": 2, "mem_gb": 0.25, "time": "00:05:00"},
        slurm=slurm,
    )


def test_the_job_and_what_setup_exports_are_the_commands(shell, write_study, wait_until):
    shown = "job=$SLURM_JOB_ID array=$SLURM_ARRAY_TASK_ID cpus=$SLURM_CPUS_PER_TASK node=$SLURM_JOB_NODELIST"
    setup = ["export SLURM_TMPDIR=/tmp/local.$SLURM_JOB_ID", "export MASTER_ADDR=$(hostname) MASTER_PORT=12345"]
    command = f'echo "{shown} tmp=$SLURM_TMPDIR at=$MASTER_ADDR:$MASTER_PORT rank=[$SLURM_PROCID$RANK]" > shown'
    shell.ok("launch", str(one_trial(shell, write_study, "variables", command, setup=setup)))
    wait_until(lambda: shell.has_finished("variables"), 120)
    (row,) = shell.rows("variables")
    assert row["state"] == "COMPLETE"
    words = dict(word.split("=", 1) for word in (shell.cwd / "shown").read_text().split())
    assert words["job"].isdigit() and words["tmp"] == f"/tmp/local.{words['job']}"
    assert (words["array"], words["cpus"], words["node"], words["rank"]) == ("0", "2", row["node"], "[]")
    assert words["at"].endswith(":12345") and len(words["at"]) > len(":12345")


def test_srun_in_a_command_is_a_step_of_the_trials_own_job(shell, write_study, wait_until):
    command = "srun bash -c 'echo $SLURM_JOB_ID $SLURM_STEP_ID $CUDA_VISIBLE_DEVICES' > step; echo $SLURM_JOB_ID > job"
    shell.ok("launch", str(one_trial(shell, write_study, "step", command)))
    wait_until(lambda: shell.has_finished("step"), 120)
    assert [row["state"] for row in shell.rows("step")] == ["COMPLETE"]
    job, number, *gpus = (shell.cwd / "step").read_text().split()
    assert job == (shell.cwd / "job").read_text().strip()
    assert number == "1" and len(gpus) == 1  # step 0 is the worker's; and the job's GPU is there


CANARY = """
import pathlib, sys, time
from hposlurm import client

begin = int(client.resume_from().read_text()) if client.resume_from() else 0
for step in range(begin + 1, 200):
    client.report(step=step, eval_loss=1.0 / step)
    time.sleep(0.1)
    if client.should_stop():
        path = client.checkpoint_dir() / f"step-{step}"
        path.write_text(str(step))
        client.report_checkpoint(step, path)
        sys.exit(0)
"""


def test_a_canary_runs_as_a_job_and_leaves_nothing_in_the_queue(shell, write_study):
    (shell.cwd / "train.py").write_text(CANARY)
    study = write_study("careful", "python train.py {{ x }}")
    said = [line for line in shell.ok("check", str(study), "--run").splitlines() if line.startswith("canary: it ")]
    assert said[0].startswith("canary: it reported eval_loss ") and len(said) == 3, said
    assert said[1].startswith("canary: it saved step-") and said[2].startswith("canary: it resumed from step-")
    assert not list((shell.cwd / "runs").iterdir())
    assert "careful" not in ask("squeue", "-h", "-t", "PD,R", "-o", "%j")
