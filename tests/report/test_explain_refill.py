"""What is told of trials that elements took when they started: decided while others ran, made again by the clocks."""

from __future__ import annotations

import time
from pathlib import Path

from hposlurm.refill.batches import add_batch
from hposlurm.report.explain import explain_trial
from tests.refill.studies import Lab
from tests.report.played import replay

ASHA = {"algorithm": "asha", "seed": 1, "min_resource": 1, "max_resource": 9, "reduction_factor": 3}


def test_what_was_proposed_while_others_ran_is_decided_again_the_same(tmp_path: Path) -> None:
    lab = Lab(tmp_path, budget={"n_trials": 20}, search=ASHA)
    for element in range(4):
        lab.start(element)
    for element, loss in enumerate([3.0, 1.0, 2.0]):
        lab.end(element, loss)
    batch = add_batch(lab.layout, 0, time.time())
    assert batch is not None and [(a.trial, a.stage) for a in batch.assignments] == [(1, 1), (4, 0)]
    assert lab.start(4) == 1
    lab.end(3, 0.1)  # the best of all: had it been known, another one would have been sent on
    lab.end(4, 0.5, step=3)
    story = explain_trial(replay(lab.layout.root), 1)
    assert [stage.agrees for stage in story.stages] == [True, True]
    assert story.stages[1].why == "rung 1: loss 1, place 1 of 3, the best goes on (threshold 1)"
    assert [stage.agrees for stage in explain_trial(replay(lab.layout.root), 4).stages] == [True]
