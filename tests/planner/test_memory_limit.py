"""Whatever searches: a configuration that cannot fit its GPU is never planned."""

from __future__ import annotations

import pytest

from hposlurm.planner import advance, create
from hposlurm.records.history import read_history
from tests.gpu_memory.test_shape import BLOOM_560M
from tests.planner.fake import FakeCluster, spec

MEMORY = {
    "parameters": {
        "lr": {"type": "float", "min": 1e-5, "max": 1e-3, "log": True, "mutable": True},
        "bs": {"type": "int", "min": 1, "max": 64},
        "max_length": {"choices": [128, 512]},
    },
    "trial": {"command": "train --lr {{ lr }} --bs {{ bs }} --len {{ max_length }}", "workdir": "/"},
    "resources": {"gpus_per_node": 2, "gpu_memory_gb": 32},
    "gpu_memory": {"config": BLOOM_560M, "precision": "fp16", "zero_stage": 2},
}


@pytest.mark.parametrize("algorithm", ["random", "qmc", "tpe", "gp", "auto", "pbt"])
def test_what_cannot_fit_is_not_planned(layout, algorithm):
    more = {"max_resource": 9} if algorithm in ("auto", "pbt") else {}
    if algorithm == "pbt":
        more |= {"population_size": 4, "perturbation_interval": 3}
    study = spec(**{**MEMORY, "search": {"algorithm": algorithm, "seed": 3, "startup_trials": 4, **more}})
    create(layout, study)
    cluster = FakeCluster()
    for _ in range(3):
        advance(layout, study, cluster)
        # larger batches seem better, so that a search would go where nothing fits
        cluster.run(lambda params: -float(params["bs"] * params["max_length"]), saved=1)
    trials = read_history(layout).trials
    space = study.space
    assert len(trials) >= 4 and all(space.is_feasible(trial.params) for trial in trials)
    assert len({trial.params["bs"] for trial in trials}) > 1
