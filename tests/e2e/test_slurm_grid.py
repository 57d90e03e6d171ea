"""The experiment manual-grid on real daemons, in its tiny form: in a file of its own, since it takes long."""

from __future__ import annotations

import csv

import pytest
import yaml

from tests.e2e.conftest import REPOSITORY

pytestmark = [pytest.mark.slurm, pytest.mark.usefixtures("slurm_cluster")]


@pytest.mark.long(60)
@pytest.mark.train
def test_the_classic_grid_in_its_tiny_form(shell, wait_until):
    folder = REPOSITORY / "experiments" / "manual-grid"
    command = yaml.safe_load((folder / "tiny.yaml").read_text())["trial"]["command"]
    few = f"trial.command={command} --train-samples 32 --eval-samples 8"
    # A trial costs half a minute of CPU, nearly all of it for imports: four of the twelve show all that is looked at.
    settings = [
        few,
        "parameters.bs.choices=[1]",
        "parameters.lr.choices=[1.0e-5, 2.0e-4]",
        "resources.gpus_per_node=2",
        "resources.gpu_type=v100",
        f"trial.workdir={REPOSITORY}",
    ]
    changes = [word for setting in settings for word in ("--set", setting)]
    shell.ok("launch", str(folder / "study.yaml"), "--overlay", str(folder / "tiny.yaml"), *changes)
    name = next((shell.cwd / "runs").iterdir()).name
    wait_until(lambda: shell.has_finished(name), 1200)
    rows = shell.rows(name)
    assert [row["state"] for row in rows] == ["COMPLETE"] * 4, shell.ok("status", name)
    wanted = {"lr", "bs", "wd", "eval_loss", "exact_match", "f1", "runtime", "gpu_hours"}
    assert all(row[key] is not None for row in rows for key in wanted)
    pairs: dict[tuple, list[float]] = {}
    for row in rows:
        pairs.setdefault((row["lr"], row["bs"]), []).append(row["eval_loss"])
    assert len(pairs) == 2 and all(len(losses) == 2 for losses in pairs.values())
    assert all(len(set(losses)) == 2 for losses in pairs.values()), pairs
    assert all(row["gpu_hours"] > 0 for row in rows)
    with (shell.cwd / "runs" / name / "results.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 4
