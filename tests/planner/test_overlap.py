"""Several waves in flight: the waves queued behind them, when trials are settled, and nothing lost or done twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hposlurm.backend import ArrayJob, Group, WaveRequest
from hposlurm.errors import LimitError
from hposlurm.planner import advance, cancel, create
from hposlurm.planner.study import lift_stop
from hposlurm.records.history import read_history
from hposlurm.records.layout import StudyLayout
from hposlurm.records.plan import read_plan
from hposlurm.spec import StudySpec
from hposlurm.trial import JobState, TrialState
from tests.planner.fake import FakeCluster, Killed, new_layout, spec, write_attempt

OVERLAP = {"waves": {"size": 4, "mode": "overlap"}}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    import hposlurm.planner.ends as module

    for name, value in (("LOST_AFTER_S", 0.2), ("SETTLE_S", 0.2), ("_ASK_AGAIN_S", 0.01)):
        monkeypatch.setattr(module, name, value)


def launch(layout: StudyLayout, study: StudySpec, cluster: FakeCluster) -> None:
    create(layout, study)
    assert advance(layout, study, cluster).kind == "submitted"


def run_wave(layout: StudyLayout, cluster: FakeCluster, wave: int, loss: object = 1.0) -> None:
    """Lets the jobs of one wave end; a text for an attempt that failed, None for one that left no end."""
    (job_id,) = (j for j, job in cluster.arrays.items() if job["request"].wave == wave)
    for index, assignment in enumerate(read_plan(layout.wave(wave)).assignments):
        write_attempt(layout, wave, index, assignment.trial, f"{job_id}_{index}", loss)
    cluster.arrays[job_id]["state"] = JobState.COMPLETED


def in_flight(layout: StudyLayout) -> list[int]:
    return [plan.wave for plan in read_history(layout).in_flight]


def test_a_launch_submits_as_many_waves_as_keep_the_slots_busy(layout: StudyLayout) -> None:
    cluster, study = FakeCluster(), spec(**OVERLAP, budget={"n_trials": 40})
    launch(layout, study, cluster)
    assert [plan.in_flight for plan in read_history(layout).plans] == [(), (0,), (0, 1)]
    assert [planner["after"] for planner in cluster.planners.values()] == [["100"], ["101"], ["102"]]
    assert [a.trial for a in read_plan(layout.wave(2)).assignments] == [8, 9, 10, 11]
    assert advance(layout, study, cluster).kind == "waiting"
    assert len(cluster.arrays) == len(cluster.planners) == 3


@pytest.mark.parametrize("first", [0, 1, 2])
def test_after_any_wave_ends_the_next_one_is_queued_behind_the_others(layout: StudyLayout, first: int) -> None:
    cluster, study = FakeCluster(), spec(**OVERLAP, budget={"n_trials": 40})
    launch(layout, study, cluster)
    run_wave(layout, cluster, first)
    assert advance(layout, study, cluster).kind == "submitted"
    assert in_flight(layout) == [*sorted({0, 1, 2} - {first}), 3]
    assert [a.trial for a in read_plan(layout.wave(3)).assignments] == [12, 13, 14, 15]


def test_a_trial_of_a_wave_in_flight_is_not_assigned_again_before_that_wave_is_settled(layout: StudyLayout) -> None:
    trial = {"command": "x {{ x }}", "retries": 1, "workdir": "/"}
    cluster, study = FakeCluster(), spec(**OVERLAP, budget={"n_trials": 40}, trial=trial)
    launch(layout, study, cluster)
    write_attempt(layout, 1, 0, 4, "101_0", "command exited with status 1")  # the rest of wave 1 runs
    run_wave(layout, cluster, 0)
    advance(layout, study, cluster)
    assert read_history(layout).trial(4).state is TrialState.WAITING
    assert 4 not in [a.trial for a in read_plan(layout.wave(3)).assignments]
    for index, number in enumerate([5, 6, 7], start=1):
        write_attempt(layout, 1, index, number, f"101_{index}", 1.0)
    cluster.arrays["101"]["state"] = JobState.COMPLETED
    advance(layout, study, cluster)
    assert read_plan(layout.wave(4)).assignments[0].trial == 4


def test_a_study_ends_once_all_its_waves_have_ended(layout: StudyLayout) -> None:
    cluster, study = FakeCluster(), spec(**OVERLAP)
    launch(layout, study, cluster)
    run_wave(layout, cluster, 1)
    assert advance(layout, study, cluster).kind == "waiting"  # nothing is left to be planned, and two waves run
    run_wave(layout, cluster, 0)
    assert advance(layout, study, cluster).kind == "waiting"
    run_wave(layout, cluster, 2)
    assert advance(layout, study, cluster).kind == "finished"
    history = read_history(layout)
    assert [len(trial.attempts) for trial in history.trials] == [1] * 12
    assert history.counts()[TrialState.COMPLETE] == 12 and history.in_flight == ()


def test_a_small_wave_that_never_starts_does_not_end_a_study_that_works(layout: StudyLayout) -> None:
    cluster, study = FakeCluster(), spec(**OVERLAP, budget={"n_trials": 40})
    launch(layout, study, cluster)
    run_wave(layout, cluster, 0)
    cluster.arrays["101"]["state"] = JobState.FAILED  # no element of wave 1 wrote a journal
    step = advance(layout, study, cluster)
    assert step.kind == "submitted" and read_history(layout).finished is None


@pytest.mark.parametrize("moment", ["die_before", "die_after"])
@pytest.mark.parametrize("call", ["submit", "submit_planner", "release"])
@pytest.mark.parametrize("wave", [0, 1, 2, 3])
def test_a_kill_at_any_call_leaves_one_array_per_wave(layout: StudyLayout, moment: str, call: str, wave: int) -> None:
    cluster, study = FakeCluster(), spec(**OVERLAP, budget={"n_trials": 16})
    create(layout, study)
    ran = 0
    for _ in range(20):
        if len(cluster.arrays) >= wave and not cluster.calls.count("armed"):
            setattr(cluster, moment, call)
            cluster.calls.append("armed")
        try:
            step = advance(layout, study, cluster)
        except Killed:
            continue
        if step.kind == "finished":
            break
        if ran < len(cluster.arrays):
            run_wave(layout, cluster, ran)
            ran += 1
    assert step.kind == "finished"
    assert [len(trial.attempts) for trial in read_history(layout).trials] == [1] * 16
    assert len(cluster.arrays) == len({job["token"] for job in cluster.arrays.values()}) == 4


def test_the_budget_counts_every_wave_in_flight(layout: StudyLayout) -> None:
    budget = {"gpu_hours": 10, "n_trials": 100}
    resources = {"gpus_per_node": 2, "time": "00:30:00"}
    cluster, study = FakeCluster(), spec(**OVERLAP, budget=budget, resources=resources)
    launch(layout, study, cluster)
    assert [len(plan.assignments) for plan in read_history(layout).plans] == [4, 4, 2]  # each may use 1 GPU hour


def test_cancel_ends_all_waves_in_flight_and_resume_goes_on_with_their_trials(layout: StudyLayout) -> None:
    cluster, study = FakeCluster(), spec(**OVERLAP)
    launch(layout, study, cluster)
    said = cancel(layout, cluster)
    assert all(f"wave {wave} (jobs {100 + wave}, planner {900 + wave})" in said for wave in range(3))
    jobs = [*cluster.arrays.values(), *cluster.planners.values()]
    assert {job["state"] for job in jobs} == {JobState.CANCELLED}
    assert advance(layout, study, cluster).kind == "stopped"
    lift_stop(layout)
    assert advance(layout, study, cluster, again=True).kind == "submitted"
    plans = read_history(layout).plans
    assert sorted(a.trial for plan in plans[3:] for a in plan.assignments) == list(range(12))
    assert plans[3].in_flight == () and len({s.trial for s in plans[3].settled}) == 12


def test_a_trial_of_any_wave_in_flight_can_be_removed(layout: StudyLayout) -> None:
    cluster, study = FakeCluster(), spec(**OVERLAP)
    launch(layout, study, cluster)
    assert "trial 1 (job 100_1), trial 9 (job 102_1)" in cancel(layout, cluster, [1, 9])


def test_the_same_records_give_the_same_waves(tmp_path: Path) -> None:
    found = []
    for name in "ab":
        layout, cluster, study = new_layout(tmp_path / name), FakeCluster(), spec(**OVERLAP, budget={"n_trials": 24})
        launch(layout, study, cluster)
        for wave in (1, 0, 2, 3):
            run_wave(layout, cluster, wave)
            advance(layout, study, cluster)
        found.append([json.dumps([dict(a.params) for a in plan.assignments]) for plan in read_history(layout).plans])
    assert found[0] == found[1]


def test_continued_trainings_come_before_new_ones_in_separate_arrays(layout: StudyLayout) -> None:
    """Rungs at 1 and 3; 4 jobs of 20 minutes for the first, later some of 30 for what was promoted among them."""
    search = {"algorithm": "asha", "seed": 1, "min_resource": 1, "max_resource": 3}
    resources = {"gpus_per_node": 1, "time": "00:30:00"}
    study = spec(**OVERLAP, search=search, resources=resources, budget={"n_trials": 40})
    cluster = FakeCluster()
    launch(layout, study, cluster)
    run_wave(layout, cluster, 0)
    advance(layout, study, cluster)
    requests = [job["request"] for job in cluster.arrays.values()]
    assert [request.groups for request in requests[:3]] == [(Group(4, 20, 100),)] * 3
    (plan,) = read_history(layout).plans[3:]
    assert [a.from_step for a in plan.assignments] == [1, 0, 0, 0]
    assert requests[3].groups == (Group(1, 30, 0), Group(3, 20, 100))  # without a checkpoint: from the beginning


@pytest.mark.parametrize(("order", "lanes"), [((0, 1, 2), [0, 1, 2, 0, 1, 2]), ((1, 2, 3), [0, 1, 2, 1, 2, 1])])
def test_waves_in_flight_have_separate_lanes(layout: StudyLayout, order: tuple, lanes: list[int]) -> None:
    cluster, study = FakeCluster(), spec(**OVERLAP, budget={"n_trials": 40})
    launch(layout, study, cluster)
    for wave in order:
        run_wave(layout, cluster, wave)
        advance(layout, study, cluster)
    assert [plan.lane for plan in read_history(layout).plans] == lanes


def test_without_room_in_the_queue_the_planner_behind_a_wave_in_flight_submits_the_next(layout: StudyLayout) -> None:
    class Narrow(FakeCluster):
        room = 1

        def submit(self, request: WaveRequest) -> list[ArrayJob]:
            if sum(not job["state"].is_terminal for job in self.arrays.values()) >= self.room:
                raise LimitError("QOSMaxSubmitJobPerUserLimit")
            return super().submit(request)

    cluster, study = Narrow(), spec(**OVERLAP)
    launch(layout, study, cluster)
    assert len(cluster.arrays) == 1 and len(read_history(layout).plans) == 2
    assert advance(layout, study, cluster).kind == "waiting" and len(cluster.planners) == 1
    for wave in range(3):
        run_wave(layout, cluster, wave)
        step = advance(layout, study, cluster)
    assert step.kind == "finished"
    assert [len(trial.attempts) for trial in read_history(layout).trials] == [1] * 12
    cluster.room = 0
    other = new_layout(layout.root / "other")
    create(other, study)
    with pytest.raises(LimitError):
        advance(other, study, cluster)
