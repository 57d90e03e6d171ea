"""The experiment manual-grid on real daemons, in its tiny form: in a file of its own, since it takes minutes."""

from __future__ import annotations

import csv

import pytest
import yaml

from tests.e2e.conftest import REPOSITORY

pytestmark = [pytest.mark.slurm, pytest.mark.usefixtures("slurm_cluster")]


@pytest.mark.long(150)
@pytest.mark.train
def test_the_classic_grid_in_its_tiny_form(shell, wait_until):
    folder = REPOSITORY / "experiments" / "manual-grid"
    command = yaml.safe_load((folder / "tiny.yaml").read_text())["trial"]["command"]
    few = f"trial.command={command} --train-samples 32 --eval-samples 8"
    settings = [few, "resources.gpus_per_node=2", "resources.gpu_type=v100", f"trial.workdir={REPOSITORY}"]
    changes = [word for setting in settings for word in ("--set", setting)]
    shell.ok("launch", str(folder / "study.yaml"), "--overlay", str(folder / "tiny.yaml"), *changes)
    name = next((shell.cwd / "runs").iterdir()).name
    wait_until(lambda: shell.has_finished(name), 1200)
    rows = shell.rows(name)
    assert [row["state"] for row in rows] == ["COMPLETE"] * 12, shell.ok("status", name)
    wanted = {"lr", "bs", "wd", "eval_loss", "exact_match", "f1", "runtime", "gpu_hours"}
    assert all(row[key] is not None for row in rows for key in wanted)
    pairs: dict[tuple, list[float]] = {}
    for row in rows:
        pairs.setdefault((row["lr"], row["bs"]), []).append(row["eval_loss"])
    assert len(pairs) == 6 and all(len(losses) == 2 for losses in pairs.values())
    assert all(len(set(losses)) == 2 for losses in pairs.values()), pairs
    assert all(row["gpu_hours"] > 0 for row in rows)
    with (shell.cwd / "runs" / name / "results.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 12
