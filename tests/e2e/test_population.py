"""Population-based training with real processes: members are copied, and the winner's schedule can be replayed."""

from __future__ import annotations

import json
import sys

import yaml

from tests.e2e.conftest import Shell

# A weight that is pulled towards 0, the faster the better: it remembers every rate that it was trained with
TRAINING = """
import json, os, sys
from hposlurm import client

weight, begin = 1.0, 0
if client.resume_from():
    saved = json.loads(client.resume_from().read_text())
    weight, begin = saved["weight"], saved["step"]
rate, last = client.params()["rate"], client.max_step()
for step in range(begin + 1, last + 1):
    weight -= rate * weight
    client.report(step=step, loss=abs(weight))
if "--save" in sys.argv:
    path = client.checkpoint_dir() / f"step-{last}.json"
    path.write_text(json.dumps({"weight": weight, "step": last}))
    client.report_checkpoint(last, path)
"""


def study(shell: Shell, write_study, name: str, *flags: str, **sections):
    (shell.cwd / "training.py").write_text(TRAINING)
    return write_study(
        name,
        " ".join([sys.executable, "training.py", *flags]),
        objectives=[{"name": "loss"}],
        parameters={"rate": {"type": "float", "min": 0.001, "max": 0.5, "log": True, "mutable": True}},
        search={
            **{"algorithm": "pbt", "seed": 1, "population_size": 4, "perturbation_interval": 2, "max_resource": 6},
            **{"resample_probability": 0, "perturb_factors": [1.3]},
        },
        budget={},
        backend="local",
        **sections,
    )


def test_the_winner_s_schedule_gives_its_result(shell, write_study, tmp_path):
    shell.ok("launch", str(study(shell, write_study, "population", "--save")))
    plans = shell.plans("population")
    assert [len(plan["assignments"]) for plan in plans] == [4, 4, 4, 0]
    assert plans[-1]["finished"].startswith("the population of 4 has ended its 3 generations")
    rows = {row["trial"]: row for row in shell.rows("population")}
    assert sorted(row["state"] for row in rows.values()) == ["COMPLETE"] * 4 + ["PRUNED"] * 2

    copies = [a for plan in plans for a in plan["assignments"] if a["resume_from"]]
    assert [copy["attrs"]["generation"] for copy in copies] == [1, 2]
    for copy in copies:
        parent, start = copy["attrs"]["parent"], copy["attrs"]["parent_step"]
        assert copy["resume_from"] == f"trials/{parent:05d}/checkpoints/step-{start}.json"
        assert copy["params"]["rate"] != rows[parent]["rate"]
        assert rows[copy["attrs"]["replaces"]]["reason"].endswith(f"(loss {rows_at(shell, parent, start):.6g})")

    exported = tmp_path / "best.yaml"
    said = shell.ok("best", "population", "--export", str(exported))
    best = yaml.safe_load(exported.read_text())
    assert [leg["step"] for leg in best["schedule"]] == [0, 2, 4]
    assert [leg["trial"] for leg in best["schedule"]] == [copies[0]["attrs"]["parent"], 4, best["trial"]] and best[
        "trial"
    ] == 5
    for leg in best["schedule"]:
        assert f"from step {leg['step']}  rate={leg['params']['rate']:.4g} (trial {leg['trial']})" in said
    weight, rates = 1.0, {leg["step"]: leg["params"]["rate"] for leg in best["schedule"]}
    for step in range(6):
        rate = rates[max(begin for begin in rates if begin <= step)]
        weight -= rate * weight
    assert abs(weight) == best["values"]["loss"]


def rows_at(shell: Shell, trial: int, step: int) -> float:
    journals = sorted((shell.cwd / f"runs/population/trials/{trial:05d}").glob("attempt-*.jsonl"))
    records = [json.loads(line) for path in journals for line in path.read_text().splitlines()]
    return next(r["metrics"]["loss"] for r in records if r["kind"] == "report" and r["step"] == step)


def test_without_checkpoints_copies_fail_and_say_why(shell, write_study):
    shell.ok("launch", str(study(shell, write_study, "blind")))
    failed = [row for row in shell.rows("blind") if row["state"] == "FAIL"]
    assert len(failed) == 2 and not any(row["loss"] for row in failed)
    for row in failed:
        assert "there is no checkpoint to begin with: the training has to report one" in row["reason"]
