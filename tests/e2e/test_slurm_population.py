"""Population-based training of real models on real daemons, with what each optimizer really used at each step.

Two generations; PBT_GENERATIONS=4 in the environment makes it four.
"""

from __future__ import annotations

import json
import os

import pytest
import yaml

from tests.e2e.conftest import REPOSITORY
from tests.experiments.test_stages import RECORDER

pytestmark = [pytest.mark.slurm, pytest.mark.train, pytest.mark.usefixtures("slurm_cluster")]

GENERATIONS = int(os.environ.get("PBT_GENERATIONS", "2"))
SAMPLE = REPOSITORY / "experiments" / "data" / "squad-sample.json"
# 16 samples in batches of 4: 4 optimizer steps in an epoch, which is a generation
FINETUNE = (
    f"RECORD_STEPS=$HPOSLURM_TRIAL_DIR/steps SCRIPT={REPOSITORY}/scripts/finetune.py python recorder.py "
    f"--model tiny-bloom --data {SAMPLE} --train-samples 16 --bs 4 --eval-samples 4 --max-new-tokens 2 "
    "--max-length 128 --zero-stage 0 --lr {{ lr }} --wd {{ wd }}"
)
PER_GENERATION = 4


@pytest.mark.long(70)
def test_every_optimizer_uses_what_its_trial_was_assigned(shell, write_study, wait_until, tmp_path):
    (shell.cwd / "recorder.py").write_text(RECORDER)
    study = write_study(
        "population",
        FINETUNE,
        parameters={
            "lr": {"type": "float", "min": 1e-4, "max": 1e-2, "log": True, "mutable": True},
            "wd": {"type": "float", "min": 0.01, "max": 0.3, "mutable": True},
        },
        search={
            **{"algorithm": "pbt", "seed": 2, "population_size": 4},
            **{"perturbation_interval": 1, "max_resource": GENERATIONS},
        },
        budget={},
        resources={"gpus_per_node": 1, "gpu_type": "v100", "cpus_per_task": 1, "mem_gb": 4, "time": "00:20:00"},
    )
    shell.ok("launch", str(study))
    wait_until(lambda: shell.has_finished("population"), 300 * GENERATIONS)
    plans = shell.plans("population")
    assert [len(plan["assignments"]) for plan in plans] == [4] * GENERATIONS + [0]
    assert sum(row["state"] == "COMPLETE" for row in shell.rows("population")) == 4, shell.ok("status", "population")

    trials = {a["trial"]: a for plan in reversed(plans) for a in plan["assignments"]}  # each as it was first assigned
    copies = [a for a in trials.values() if a["resume_from"]]
    assert [copy["attrs"]["generation"] for copy in copies] == list(range(1, GENERATIONS))
    factors: dict[int, set[float]] = {}  # of the schedule, which is that of all generations for everyone
    for number, assignment in trials.items():
        params = assignment["params"]
        lines = (shell.cwd / f"runs/population/trials/{number:05d}/steps-0").read_text().splitlines()
        for step, line in enumerate(lines, assignment["from_step"] * PER_GENERATION):
            decaying, *others = json.loads(line)
            assert decaying[1] == params["wd"] and not any(decay for _, decay in others)
            assert {rate for rate, _ in others} <= {decaying[0]}
            factors.setdefault(step, set()).add(round(decaying[0] / params["lr"], 9))
    steps = PER_GENERATION * GENERATIONS
    assert factors == {step: {round(1 - step / steps, 9)} for step in range(steps)}

    exported = tmp_path / "best.yaml"
    shell.ok("best", "population", "--export", str(exported))
    best = yaml.safe_load(exported.read_text())
    for leg in best["schedule"]:
        assert leg["params"] == trials[leg["trial"]]["params"]
    assert bool(best["schedule"]) == (best["trial"] in {copy["trial"] for copy in copies})
