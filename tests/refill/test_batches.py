"""What is proposed to elements of a refill wave while it runs."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hposlurm.records import refill_pool
from hposlurm.records.history import read_history
from hposlurm.records.plan import read_plan, record_plan
from hposlurm.refill.batches import add_batch
from hposlurm.trial import TrialState
from hposlurm.worker.binding import find_assignment
from tests.refill.studies import Lab

ASHA = {"algorithm": "asha", "seed": 1, "min_resource": 1, "max_resource": 9, "reduction_factor": 3}
RETRIES = {"command": "x {{ x }}", "retries": 1, "workdir": "/"}
FAILED = "command exited with status 1"


def test_so_many_are_kept_ahead_that_the_next_elements_need_not_wait(tmp_path: Path) -> None:
    lab = Lab(tmp_path, waves={"mode": "refill", "max_concurrent": 16}, budget={"n_trials": 100})
    assert (len(lab.assigned()), read_plan(lab.layout.wave(0)).ahead) == (16, 2)
    assert add_batch(lab.layout, 0, 0.0) is None  # nobody has taken anything yet
    for element in range(15):
        lab.start(element)
    batch = add_batch(lab.layout, 0, 0.0)
    assert batch is not None and [a.trial for a in batch.assignments] == [16, 17, 18]  # with the one that is left: four
    assert add_batch(lab.layout, 0, 0.0) is None


def test_what_is_proposed_and_what_runs_counts_as_a_trial(tmp_path: Path) -> None:
    lab = Lab(tmp_path, budget={"n_trials": 5})
    for element in range(4):
        lab.start(element)
    batch = add_batch(lab.layout, 0, 0.0)
    assert batch is not None and [a.trial for a in batch.assignments] == [4]
    lab.start(4)
    assert add_batch(lab.layout, 0, 0.0) is None
    assert not read_plan(lab.layout.wave(0)).over  # nobody waits, and a trial that runs may have to be tried again
    ended = add_batch(lab.layout, 0, 0.0, is_needed=True)
    assert ended is not None and ended.over == "5 of 5 trials are done"
    assert add_batch(lab.layout, 0, 0.0, is_needed=True) is None


def test_gpu_hours_are_reserved_for_all_that_is_proposed(tmp_path: Path) -> None:
    resources = {"gpus_per_node": 2, "time": "00:30:00"}  # a GPU hour for each
    lab = Lab(tmp_path, budget={"gpu_hours": 5, "n_trials": 100}, resources=resources)
    for element in range(4):
        lab.start(element)
    batch = add_batch(lab.layout, 0, 0.0)
    assert batch is not None and len(batch.assignments) == 1
    lab.start(4)
    assert add_batch(lab.layout, 0, 0.0) is None


def test_a_trial_that_failed_comes_first_and_is_nobody_elses_then(tmp_path: Path) -> None:
    lab = Lab(tmp_path, budget={"n_trials": 20}, trial=RETRIES)
    for element in range(4):
        lab.start(element)
    lab.end(1, FAILED)
    batch = add_batch(lab.layout, 0, 0.0)
    assert batch is not None and [a.trial for a in batch.assignments] == [1, 4]
    assert [lab.start(4), lab.start(5)] == [1, 4]
    lab.end(4, FAILED)  # its retry is used up
    batch = add_batch(lab.layout, 0, 0.0)
    assert batch is not None and [a.trial for a in batch.assignments] == [5, 6]
    assert read_history(lab.layout).trial(1).state is TrialState.FAIL


@pytest.mark.parametrize("end", ["SIGTERM: it may have been a person", "command was killed by signal 9"])
def test_a_trial_of_which_only_the_cluster_knows_the_end_is_left_to_the_planner(tmp_path: Path, end: str) -> None:
    lab = Lab(tmp_path, budget={"n_trials": 20}, trial=RETRIES)
    for element in range(4):
        lab.start(element)
    lab.end(1, end, exit_code=-9)
    batch = add_batch(lab.layout, 0, 0.0)
    assert batch is not None and [a.trial for a in batch.assignments] == [4, 5]


def test_a_trial_whose_time_was_up_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    lab = Lab(tmp_path, budget={"n_trials": 20})
    for element in range(4):
        lab.start(element)
    lab.report(2, 5, 0.5)
    lab.end(2, "SIGUSR2 (time limit ahead)")
    assert lab.start(4) == 2


def test_a_trial_is_promoted_while_others_run(tmp_path: Path) -> None:
    lab = Lab(tmp_path, budget={"n_trials": 20}, search=ASHA)
    for element in range(4):
        lab.start(element)
    for element, loss in enumerate([3.0, 1.0, 2.0]):
        lab.end(element, loss)
    batch = add_batch(lab.layout, 0, 0.0)
    assert batch is not None
    assert [(a.trial, a.stage, a.from_step, a.to_step) for a in batch.assignments] == [(1, 1, 1, 3), (4, 0, 0, 1)]
    assert lab.start(4) == 1
    lab.end(4, 0.5, step=3)
    assert [(s.wave, s.to_step) for s in read_history(lab.layout).trial(1).stages] == [(0, 1), (0, 3)]


def test_what_comes_too_late_for_its_wave_is_not_added(tmp_path: Path) -> None:
    lab = Lab(tmp_path, budget={"n_trials": 20})
    for element in range(4):
        lab.start(element)
        lab.end(element)
    refill_pool.close(lab.layout.wave(0), 4, 0.0)
    assert add_batch(lab.layout, 0, 0.0, is_needed=True) is None
    assert lab.start(4) is None


def test_nobody_waits_in_a_wave_with_a_later_one_behind_it(tmp_path: Path) -> None:
    lab = Lab(tmp_path, budget={"n_trials": 20})
    wave = lab.layout.wave(0)
    for element in range(3):
        lab.start(element)
    following = replace(read_plan(wave), wave=1, in_flight=(0,), assignments=(), elements=None)
    assert record_plan(lab.layout.wave(1), following)
    assert add_batch(lab.layout, 0, 0.0, is_needed=True) is None  # somebody may still take what is left
    assert find_assignment(lab.layout, 0, 3, patience_s=0)
    assert add_batch(lab.layout, 0, 0.0) is None
    ended = add_batch(lab.layout, 0, 0.0, is_needed=True)
    assert ended is not None and ended.over == "wave 1 is planned"
    assert find_assignment(lab.layout, 0, 4, patience_s=0) is None
    assert add_batch(lab.layout, 7, 0.0, is_needed=True) is None


@pytest.mark.parametrize("search", [{"algorithm": "tpe", "seed": 7, "startup_trials": 3}, ASHA, {"algorithm": "auto"}])
def test_the_same_events_in_the_same_order_give_the_same_claims(tmp_path: Path, search: dict[str, Any]) -> None:
    def record(name: str) -> list[Any]:
        lab = Lab(tmp_path / name, budget={"n_trials": 20}, search=search, trial=RETRIES)
        wave = lab.layout.wave(0)
        took = [lab.start(element) for element in (1, 3, 0, 2)]
        for element, (ended, loss) in enumerate([(3, 0.3), (1, FAILED), (0, 0.1), (2, 0.2)], start=4):
            lab.end(ended, loss)
            took.append(lab.start(element))
        batches = [json.loads(wave.batch(position).read_bytes()) for position in wave.batches()]
        return [took, refill_pool.takers(wave), [batch["assignments"] for batch in batches]]

    first = record("a")
    assert first == record("b")
    assert len(first[1]) == 8 and first[2]


def test_of_several_that_wait_everyone_finds_something(tmp_path: Path) -> None:
    lab = Lab(tmp_path, waves={"mode": "refill", "max_concurrent": 16}, budget={"n_trials": 100})
    wave = lab.layout.wave(0)
    for element in range(16):
        lab.start(element)
    for element in range(16, 26):
        refill_pool.enter(wave, element)
    batch = add_batch(lab.layout, 0, 0.0, is_needed=True)
    assert batch is not None and len(batch.assignments) == 10 + 3  # and some are left for those that come next
    for element in range(26, 60):
        refill_pool.enter(wave, element)  # more than can run at once: they died
    batch = add_batch(lab.layout, 0, 0.0, is_needed=True)
    assert batch is not None and len(batch.assignments) < 16


def test_who_has_waited_too_long_waits_no_more(tmp_path: Path) -> None:
    lab = Lab(tmp_path, waves={"mode": "refill", "max_concurrent": 16}, budget={"n_trials": 100})
    wave = lab.layout.wave(0)
    assert refill_pool.waiting(wave) == 0
    for element in range(16):
        lab.start(element)
    for element in range(16, 20):
        refill_pool.enter(wave, element)
    assert refill_pool.waiting(wave) == 4
    for element in (16, 17, 18):  # killed before they found anything
        before = wave.element(element).stat().st_mtime - refill_pool.PATIENCE_S - 60
        os.utime(wave.element(element), (before, before))
    assert refill_pool.waiting(wave) == 1
    batch = add_batch(lab.layout, 0, 0.0, is_needed=True)
    assert batch is not None and len(batch.assignments) == 4  # nobody waits but the one that asks
