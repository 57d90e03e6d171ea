"""`reproduce`: the script of one trial gives what the trial gave, without the study."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cli.run import Run

# Prints what a training may depend on, and reports it as one number
TRAIN = """
import json, os, sys, zlib
from hposlurm import client
names = ("HPOSLURM_SEED", "HPOSLURM_TRIAL_SEED", "HPOSLURM_MAX_RESOURCE", "HPOSLURM_PARAM_note")
seen = {"words": sys.argv[1:], "params": client.params(), **{name: os.environ[name] for name in names}}
start = int(os.environ["HPOSLURM_FROM_STEP"])
for step in range(start + 1, (client.max_step() or 9) + 1):
    client.report(step, eval_loss=zlib.crc32(json.dumps([seen, step], sort_keys=True).encode()) / 2**32)
    checkpoint = client.checkpoint_dir() / f"step-{step}"
    checkpoint.mkdir(parents=True, exist_ok=True)
    (checkpoint / "state").write_text(str(step))
    client.report_checkpoint(step, checkpoint)
"""
STUDY = """
name: again
objectives: [{name: eval_loss, report: last}]
parameters:
  lr: {type: float, min: 1.0e-5, max: 1.0e-3, log: true}
  note: {choices: ["it's", 'a "b" $c', plain]}
search: {algorithm: asha, max_resource: 9, reduction_factor: 3, seed: 4}
budget: {n_trials: 5}
trial: {command: "python train.py {{ flags }} --seed {{ trial_seed }}", seed: trial}
"""


@pytest.fixture
def study(run: Run, tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "study.yaml").write_text(STUDY)
    result = run("launch", "study.yaml", "--backend", "local")
    assert result.status == 0, result.err
    return runs / "again"


def test_the_script_gives_the_trials_result_without_the_study(run: Run, study: Path, tmp_path: Path) -> None:
    for words in (["again", "99"], ["again", "x"], ["other", "0"]):
        refused = run("reproduce", *words)
        assert refused.status == 2 and "Traceback" not in refused.err
    rows = json.loads(run("collect", "again", "--format", "json").out)
    row = next(row for row in rows if row["state"] == "COMPLETE" and row["attempts"] > 1)
    text = run("reproduce", "again", str(row["trial"])).out
    assert text.startswith("#!/usr/bin/env bash\n") and f"cd {tmp_path}\n" in text
    assert "# What it cannot pin:\n# - versions of packages, drivers and modules" in text
    done = run("reproduce", "again", str(row["trial"]), "-o", "repeat.sh")
    assert (done.status, done.out) == (0, "repeat.sh: run it by `bash repeat.sh`, or by `sbatch repeat.sh`\n"), done.err
    assert Path("repeat.sh").read_text() == text

    shutil.rmtree(study)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HPOSLURM")}
    bash = subprocess.run(["bash", "repeat.sh"], capture_output=True, text=True, env=environment, check=False)
    assert bash.returncode == 0, bash.stderr
    assert bash.stdout.splitlines()[-1] == f"step 9: eval_loss={row['eval_loss']:.6g}"
    assert len(bash.stdout.splitlines()) == 9  # in one go, from the start
    assert (tmp_path / f"reproduce-again-{row['trial']}").is_dir()
