"""A simulated study and the same study with real processes on this machine: the same plans, trials and results."""

from __future__ import annotations

import sys

import pytest

from hposlurm.backend.local import LocalBackend
from hposlurm.decisions import WarmStart
from hposlurm.planner import create, drive
from hposlurm.records.history import read_history
from hposlurm.records.layout import StudyLayout
from hposlurm.simulation import Cluster, simulate
from tests.simulation.studies import study

TRAIN = """\
import json, os
begin, end = int(os.environ["HPOSLURM_FROM_STEP"]), int(os.environ["HPOSLURM_MAX_STEP"] or 9)
x = float(os.environ["HPOSLURM_PARAM_x"])
with open(os.environ["HPOSLURM_METRICS_FILE"], "a") as file:
    for step in range(begin + 1, end + 1):
        file.write(json.dumps({"step": step, "metrics": {"loss": (x - 0.3) ** 2 + 1 / step}}) + "\\n")
    file.write(json.dumps({"step": end, "checkpoint": f"step-{end}"}) + "\\n")
"""


def train(params, from_step, to_step):
    for step in range(from_step + 1, (to_step or 9) + 1):
        yield step, {"loss": (params["x"] - 0.3) ** 2 + 1 / step}, 1.0 * (step - from_step)


@pytest.mark.parametrize(
    "search",
    [{"algorithm": "tpe", "startup_trials": 3}, {"algorithm": "asha", "min_resource": 1, "max_resource": 9}],
    ids=["tpe", "asha"],
)
def test_real_processes_and_virtual_ones_give_the_same_study(tmp_path, search):
    (tmp_path / "train.py").write_text(TRAIN)
    spec = study(
        8,
        search={**search, "seed": 3},
        waves={"size": 4, "mode": "barrier"},
        trial={"command": f"{sys.executable} train.py", "workdir": str(tmp_path)},
        resources={"gpus_per_node": 0},
        publish=[],
    )
    layout = StudyLayout(tmp_path / "real")
    create(layout, spec, WarmStart())
    assert drive(layout, spec, LocalBackend([])).kind == "finished"
    real = read_history(layout)
    virtual = simulate(spec, train, Cluster(gpus=4), mode="barrier", layout=layout).history

    assert [plan.assignments for plan in real.plans] == [plan.assignments for plan in virtual.plans]
    assert real.finished == virtual.finished
    for trial, other in zip(real.trials, virtual.trials, strict=True):
        assert (trial.state, trial.values, trial.params, trial.seed) == (
            other.state,
            other.values,
            other.params,
            other.seed,
        )
        steps = ([report.step for a in t.attempts for report in a.reports] for t in (trial, other))
        assert next(steps) == next(steps)
