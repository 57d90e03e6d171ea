"""The planner and waves of mode refill: one array of elements, what is left when it has ended, and the next one."""

from __future__ import annotations

import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from hposlurm.backend import Usage
from hposlurm.backend.scripts import Part
from hposlurm.backend.slurm import SlurmBackend
from hposlurm.errors import RequestError
from hposlurm.planner import cancel, create
from hposlurm.planner.study import lift_stop
from hposlurm.planner.submission import request_for
from hposlurm.records import fail_points, refill_pool
from hposlurm.records.assignment import NO_TRIAL
from hposlurm.records.history import read_history
from hposlurm.records.plan import bound, read_plan
from hposlurm.records.spent import spent
from hposlurm.refill.batches import add_batch
from hposlurm.trial import JobState, TrialState
from tests.fake_slurm import FakeSlurm
from tests.planner import processes
from tests.planner.fake import FakeCluster, Killed, new_layout, spec
from tests.refill.studies import WAVES, Lab

RETRIES = {"command": "x {{ x }}", "retries": 2, "workdir": "/"}
HIGHEST_RUNG_LAST = {"algorithm": "asha", "seed": 1, "min_resource": 1, "max_resource": 9}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    import hposlurm.planner.ends as module

    for name, value in (("LOST_AFTER_S", 0.2), ("SETTLE_S", 0.2), ("_ASK_AGAIN_S", 0.01)):
        monkeypatch.setattr(module, name, value)


@pytest.mark.parametrize(
    ("changes", "elements"),
    [
        ({"budget": {"n_trials": 30}}, 30),
        ({"budget": {"n_trials": 3}}, 3),
        ({"budget": {"n_trials": 5000}}, 1000),
        ({"budget": {"wall_time": "1:00:00"}}, 1000),
        ({"budget": {"gpu_hours": 21}}, 40),  # pays for 10 of two GPUs and an hour each, and trials may be shorter
        ({"budget": {"gpu_hours": 3}}, 4),
        ({"budget": {"gpu_hours": 4000, "n_trials": 30}}, 30),
        ({"budget": {"n_trials": 30}, "search": HIGHEST_RUNG_LAST}, 60),  # with room for those that are promoted
        ({"budget": {"n_trials": 30}, "parameters": {"x": {"choices": [1, 2, 3, 4, 5, 6]}}}, 6),
    ],
)
def test_the_array_has_as_many_elements_as_the_study_may_need(tmp_path: Path, changes: dict, elements: int) -> None:
    lab = Lab(tmp_path, **changes)
    (job,) = lab.cluster.arrays.values()
    assert job["request"].count == read_plan(lab.layout.wave(0)).elements == elements
    assert len(lab.assigned()) == min(4, elements, *([1] if changes["budget"].get("gpu_hours") == 3 else []))


def test_the_array_runs_as_many_at_once_as_max_concurrent(tmp_path: Path) -> None:
    study = spec(waves=WAVES, budget={"n_trials": 30})
    lab = Lab(tmp_path, waves=WAVES, budget={"n_trials": 30})
    (part,) = SlurmBackend()._parts(request_for(lab.layout, study, read_plan(lab.layout.wave(0))))
    assert part == Part(0, 0, 30, 4, time_min=60)


def test_a_wave_ends_with_its_array_and_nothing_of_it_is_lost(tmp_path: Path) -> None:
    lab = Lab(tmp_path, budget={"n_trials": 8}, trial=RETRIES)
    for element in range(6):
        lab.start(element)
    add_batch(lab.layout, 0, 0.0)
    lab.end(0, "command exited with status 1")
    lab.end(1, "SIGTERM: preempted")
    for element in (2, 3, 4):
        lab.end(element)
    assert lab.step() == "waiting"
    lab.cluster.forced["100_1"] = JobState.PREEMPTED
    lab.cluster.forced["100_5"] = JobState.NODE_FAIL
    lab.over()
    assert lab.step() == "submitted"
    # 0 failed, 1 was preempted, 5 lost its node, 6 and 7 were proposed and never taken
    assert lab.assigned() == [0, 1, 5, 6, 7] and lab.wave == 1
    settled = {s.trial: (s.outcome, s.state) for s in read_plan(lab.layout.wave(1)).settled if s.outcome}
    assert settled == {5: ("interrupted", JobState.NODE_FAIL)}
    assert read_plan(lab.layout.wave(0)).over and lab.start(4) == 0
    late = lab.layout.wave(0)
    assert not any(refill_pool.take(late, 0, position) for position in range(1, 7))
    for element, trial in enumerate([1, 5, 6, 7]):
        assert lab.start(element) == trial
    for element in range(5):
        lab.end(element)
    lab.over()
    assert lab.step() == "finished"
    assert read_history(lab.layout).counts()[TrialState.COMPLETE] == 8


def test_elements_that_found_nothing_to_do_do_not_matter(tmp_path: Path) -> None:
    lab = Lab(tmp_path, budget={"n_trials": 2}, search=HIGHEST_RUNG_LAST)
    for element in range(2):
        lab.start(element)
        lab.end(element, float(element))
    assert lab.start(2) == 0  # promoted
    lab.end(2, 0.5, step=3)
    lab.cluster.forced = {"100_3": JobState.UNKNOWN}
    lab.over()
    assert lab.step() == "submitted"
    assert [(a.trial, a.to_step) for a in read_plan(lab.layout.wave(1)).assignments] == [(0, 9)]
    assert read_plan(lab.layout.wave(1)).settled == ()


def test_gpus_that_jobs_had_for_nothing_are_of_the_budget(tmp_path: Path) -> None:
    lab = Lab(tmp_path, budget={"n_trials": 2, "gpu_hours": 9}, search=HIGHEST_RUNG_LAST)
    for element in range(2):
        lab.start(element)
        lab.end(element, float(element))
    lab.cluster.accounting = {f"100_{element}": [Usage(JobState.COMPLETED, 1800.0, 2)] for element in range(4)}
    lab.over()
    assert lab.step() == "submitted"
    assert [s.reason for s in read_plan(lab.layout.wave(1)).settled if s.trial == NO_TRIAL] == [
        "2 jobs found nothing to do"
    ]
    history = read_history(lab.layout)
    assert spent(history, lab.study.objectives, time.time()).gpu_hours == pytest.approx(4.0)
    assert history.gpu_hours == pytest.approx(2.0)  # of the trials


def test_a_study_of_which_no_element_comes_so_far_as_to_take_something_stops(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    for job in lab.cluster.arrays.values():
        job["state"] = JobState.FAILED
    assert lab.step() == "finished"
    history = read_history(lab.layout)
    assert "no element of wave 0 reached its worker" in (history.finished or "")
    assert {t.state for t in history.trials} == {TrialState.WAITING}


def test_a_running_trial_can_be_taken_out_and_one_that_nobody_has_cannot(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    assert lab.start(2) == 0
    assert "trial 0 (job 100_2)" in cancel(lab.layout, lab.cluster, [0])
    with pytest.raises(RequestError, match="trial 1 is not running or waiting; these are: 0"):
        cancel(lab.layout, lab.cluster, [1])
    lab.end(2, "SIGTERM: somebody wants it so")
    lab.cluster.forced["100_2"] = JobState.CANCELLED
    lab.over()
    lab.step()
    assert read_history(lab.layout).trial(0).state is TrialState.FAIL
    assert 0 not in lab.assigned()


def test_what_was_cancelled_with_its_study_goes_on_after_resume(tmp_path: Path) -> None:
    lab = Lab(tmp_path, budget={"n_trials": 6})
    assert [lab.start(0), lab.start(1)] == [0, 1]
    lab.end(0)
    cancel(lab.layout, lab.cluster)
    assert lab.start(2) is None and lab.step() == "stopped"
    lab.end(1, "SIGTERM: the study was cancelled")
    lift_stop(lab.layout)
    assert lab.step() == "submitted"
    assert lab.assigned() == [1, 2, 3, 4] and lab.wave == 1


def test_no_wave_is_planned_behind_a_refill_wave_that_runs_whatever_the_mode_has_become(tmp_path: Path) -> None:
    lab = Lab(tmp_path, budget={"n_trials": 40})
    lab.study = spec(waves={"size": 4, "mode": "overlap"}, budget={"n_trials": 40})
    assert lab.start(0) == 0
    assert lab.step() == "waiting" and lab.wave == 0
    add_batch(lab.layout, 0, 0.0)
    lab.over()
    assert lab.step() == "submitted" and lab.wave == 3  # three waves of the new mode


def test_nor_behind_one_that_is_submitted_only_now(tmp_path: Path) -> None:
    lab = Lab.__new__(Lab)
    lab.study = spec(waves=WAVES, budget={"n_trials": 40})
    lab.layout, lab.cluster = new_layout(tmp_path), FakeCluster()
    create(lab.layout, lab.study)
    lab.cluster.die_before = "submit"
    with pytest.raises(Killed):
        lab.step()
    lab.study = spec(waves={"size": 4, "mode": "overlap"}, budget={"n_trials": 40})
    assert lab.step() == "submitted" and lab.wave == 0


@pytest.mark.parametrize("name", fail_points.CLOSE)
def test_a_planner_killed_while_it_closes_a_wave_is_finished_by_the_next_one(
    tmp_path: Path, fake_slurm: FakeSlurm, name: str
) -> None:
    layout = new_layout(tmp_path)
    study = spec(waves={"mode": "refill", "max_concurrent": 2}, budget={"n_trials": 4}, search={"algorithm": "random"})
    create(layout, study)
    assert processes.step(layout, study) == 0
    (array,) = fake_slurm.arrays()
    fake_slurm.change(array["id"], states=["PENDING", "CANCELLED", "CANCELLED", "CANCELLED"])
    assert fake_slurm.run_released(layout) == 1
    add_batch(layout, 0, 0.0)
    assert processes.step(layout, study, name) == -signal.SIGKILL
    for _ in range(4):
        assert processes.step(layout, study) == 0
        if not fake_slurm.run_released(layout) and read_history(layout).finished:
            break
    history = read_history(layout)
    assert history.finished == "4 of 4 trials are done"
    assert [len(trial.attempts) for trial in history.trials] == [1] * 4


@pytest.mark.parametrize("name", ["planned", "array submitted", "jobs recorded", "released"])
def test_a_planner_killed_anywhere_leaves_one_array_per_wave_and_each_trial_once(
    tmp_path: Path, fake_slurm: FakeSlurm, name: str
) -> None:
    layout = new_layout(tmp_path)
    study = spec(waves={"mode": "refill", "max_concurrent": 2}, budget={"n_trials": 3}, search={"algorithm": "random"})
    create(layout, study)
    assert processes.step(layout, study, name) == -signal.SIGKILL
    for _ in range(4):
        assert processes.step(layout, study) == 0
        if not fake_slurm.run_released(layout) and read_history(layout).finished:
            break
    history = read_history(layout)
    assert history.finished == "3 of 3 trials are done"
    assert Counter(len(trial.attempts) for trial in history.trials) == {1: 3}
    assert len([job for job in fake_slurm.arrays() if job["released"]]) == 1
    wave = layout.wave(0)
    assert sorted(a.trial for a in bound(wave, read_plan(wave)).values()) == [0, 1, 2]
