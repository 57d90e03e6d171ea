"""driver: chain: pairs of array and planner submitted ahead. SlurmBackend on fake commands, real processes that die."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from hposlurm.backend import ArrayJob, WaveRequest
from hposlurm.backend.slurm import SlurmBackend
from hposlurm.errors import LimitError
from hposlurm.planner import advance, cancel, create, set_going
from hposlurm.planner.study import lift_stop
from hposlurm.records import fail_points
from hposlurm.records.fail_points import VARIABLE
from hposlurm.records.history import read_history
from hposlurm.records.layout import StudyLayout
from hposlurm.spec import StudySpec
from tests.fake_slurm import FakeSlurm
from tests.planner import processes
from tests.planner.fake import new_layout, spec

WAVES = 2
STUDY = {
    "search": {"algorithm": "random", "seed": 7},
    "budget": {"n_trials": 4},
    "waves": {"size": 2},
    "slurm": {"driver": "chain"},
}


def launched_chain(layout: StudyLayout, **changes: Any) -> StudySpec:
    study = spec(**{**STUDY, **changes})
    create(layout, study)
    set_going(layout, study, SlurmBackend())
    return study


def run_on(layout: StudyLayout, study: StudySpec, slurm: FakeSlurm, **options: Any) -> None:
    """Runs the chain until it is over or has run out: each array, then its planner, which only plans."""
    submitted = len(slurm.jobs())
    for _ in range(20):
        slurm.run_released(layout, **options)
        step = advance(layout, study, SlurmBackend())
        assert len(slurm.jobs()) == submitted  # no job submits
        if step.kind in ("finished", "unsubmitted"):
            return
    raise AssertionError("the chain does not end")


def element_states(slurm: FakeSlurm) -> list[set[str]]:
    return [set(job["states"]) for job in slurm.jobs()]


def test_pairs_are_submitted_in_sequence_for_the_whole_study_and_some_retries(layout, fake_slurm):
    launched_chain(layout)
    jobs = fake_slurm.jobs()
    assert [job["array"] for job in jobs] == [True, False] * (WAVES + 3)
    assert [job["after"] for job in jobs] == [[], *([job["id"]] for job in jobs[:-1])]
    assert all(job["released"] == 1 and len(job["states"]) == 2 for job in jobs if job["array"])
    assert layout.waves() == [0]  # the others are planned when their time comes


def test_a_chain_runs_to_its_end_without_a_further_submission(layout, fake_slurm):
    study = launched_chain(layout)
    run_on(layout, study, fake_slurm)
    history = read_history(layout)
    assert history.finished == "4 of 4 trials are done"
    assert [len(trial.attempts) for trial in history.trials] == [1] * 4
    assert [len(plan.assignments) for plan in history.plans] == [2, 2, 0]
    done, rest = fake_slurm.jobs()[: 2 * WAVES], fake_slurm.jobs()[2 * WAVES :]
    assert all(set(job["states"]) == {"COMPLETED"} for job in done)
    assert all(set(job["states"]) == {"CANCELLED"} for job in rest)


@pytest.mark.parametrize(
    ("algorithm", "n_trials", "size", "waves", "elements"),
    [
        ("asha", 9, 3, 6, 3),  # 13 assignments, the last of which wait for each other
        ("auto", 9, 3, 6, 3),
        ("successive_halving", 18, None, 6, 9),  # two brackets, a wave for each rung
        ("hyperband", 17, None, 3, 17),  # one bracket of each shape, side by side
        ("pbt", None, None, 3, 4),  # three generations of four
    ],
)
def test_a_chain_is_as_long_as_the_stages_of_its_trials(layout, fake_slurm, algorithm, n_trials, size, waves, elements):
    search = {"algorithm": algorithm, "min_resource": 1, "max_resource": 9, "reduction_factor": 3, "seed": 7}
    sections: dict[str, Any] = {"budget": {"n_trials": n_trials}, "waves": {"size": size} if size else {}}
    if algorithm == "pbt":
        x = {"type": "float", "min": -1.0, "max": 1.0, "mutable": True}
        search = {"algorithm": "pbt", "population_size": 4, "max_resource": 9, "perturbation_interval": 3, "seed": 7}
        sections |= {"budget": {}, "parameters": {"x": x}}
    study = launched_chain(layout, search=search, **sections)
    assert len(fake_slurm.arrays()) == waves + 3
    assert {len(job["states"]) for job in fake_slurm.arrays()} == {elements}
    run_on(layout, study, fake_slurm)
    history = read_history(layout)
    assert history.finished and (n_trials is None or len(history.trials) == n_trials)
    assert max(report.step for trial in history.trials for report in trial.reports) == 9
    used = [plan for plan in history.plans if plan.assignments]
    assert len(used) <= waves + 3


def test_the_same_trials_as_with_planner_jobs(layout, fake_slurm, tmp_path):
    study = launched_chain(layout)
    run_on(layout, study, fake_slurm)
    other, plain = new_layout(tmp_path / "other"), spec(**{**STUDY, "slurm": {}})
    create(other, plain)
    while advance(other, plain, SlurmBackend()).kind != "finished":
        fake_slurm.run_released(other)
    params = [[trial.params for trial in read_history(lay).trials] for lay in (layout, other)]
    assert params[0] == params[1]


def test_extra_elements_are_cancelled_before_they_start(layout, fake_slurm):
    study = launched_chain(layout, budget={"n_trials": 3})
    run_on(layout, study, fake_slurm)
    assert fake_slurm.arrays()[1]["states"] == ["COMPLETED", "CANCELLED"]
    assert [trial.state.value for trial in read_history(layout).trials] == ["COMPLETE"] * 3


def test_a_trial_that_has_to_be_tried_again_uses_a_spare_pair(layout, fake_slurm):
    study = launched_chain(layout, trial={"command": "train --x {{ x }}", "workdir": "/", "retries": 1})
    fake_slurm.run_released(layout, loss=lambda _: "exit status 3")
    run_on(layout, study, fake_slurm)
    history = read_history(layout)
    assert [(trial.state.value, len(trial.attempts)) for trial in history.trials] == [("COMPLETE", 2)] * 2 + [
        ("COMPLETE", 1)
    ] * 2


def test_a_chain_that_runs_out_is_reported_and_resume_adds_pairs(layout, fake_slurm):
    study = launched_chain(layout, trial={"command": "train --x {{ x }}", "workdir": "/", "retries": 20})
    interrupted = {"loss": lambda _: "SIGTERM (cancelled or preempted)"}
    run_on(layout, study, fake_slurm, **interrupted)
    step = advance(layout, study, SlurmBackend())
    assert step.kind == "unsubmitted"
    assert step.message == "wave 5 is planned, and the chain of arrays has run out: hposlurm resume fake"
    assert set_going(layout, study, SlurmBackend(), again=True).kind == "submitted"
    assert fake_slurm.arrays()[5]["after"] == []  # there is no job left to wait for
    run_on(layout, study, fake_slurm)
    assert read_history(layout).finished == "4 of 4 trials are done"


def test_resume_of_a_running_chain_appends_the_missing_pairs(layout, fake_slurm):
    study = launched_chain(layout)
    set_going(layout, study, SlurmBackend(), again=True)
    assert len(fake_slurm.jobs()) == 2 * (WAVES + 3)
    more = spec(**{**STUDY, "budget": {"n_trials": 8}})
    set_going(layout, more, SlurmBackend(), again=True)
    assert len(fake_slurm.jobs()) == 2 * (2 * WAVES + 3)
    last, before = fake_slurm.arrays()[WAVES + 3], fake_slurm.planners()[WAVES + 2]
    assert last["after"] == [before["id"]]


@pytest.mark.parametrize(("limit", "pairs"), [(2, 1), (5, 2), (7, 2), (8, 3)])
def test_pairs_that_the_queue_takes_are_submitted_and_the_rest_by_resume(layout, fake_slurm, limit, pairs):
    """Two elements and a planner are three jobs: the last pair may be smaller than the others."""
    fake_slurm.set("limit", limit)
    study = spec(**STUDY)
    create(layout, study)
    step = set_going(layout, study, SlurmBackend())
    assert step.kind == "submitted" and "later: hposlurm resume fake" in step.message
    left = [job for job in fake_slurm.jobs() if set(job["states"]) != {"CANCELLED"}]
    assert len(left) == 2 * pairs
    fake_slurm.set("limit", 100)
    for _ in range(10):
        fake_slurm.run_released(layout)
        if set_going(layout, study, SlurmBackend()).kind == "finished":
            break
    history = read_history(layout)
    assert history.finished and [len(trial.attempts) for trial in history.trials] == [1] * 4


def test_a_full_queue_refuses_the_launch(layout, fake_slurm):
    fake_slurm.set("limit", 1)
    study = spec(**STUDY)
    create(layout, study)
    with pytest.raises(LimitError):
        set_going(layout, study, SlurmBackend())
    assert all(state == {"CANCELLED"} for state in element_states(fake_slurm))


def test_an_array_that_came_before_its_plan_costs_its_trials_nothing(layout, fake_slurm):
    study = launched_chain(layout)
    fake_slurm.run_released(layout)
    fake_slurm.run_released(layout)  # planner 0 died: array 1 starts, and leaves
    assert fake_slurm.arrays()[1]["states"] == ["COMPLETED"] * 2
    advance(layout, study, SlurmBackend())  # planner 1 takes both steps
    run_on(layout, study, fake_slurm)
    history = read_history(layout)
    assert [len(plan.assignments) for plan in history.plans] == [2, 0, 2, 0]
    assert [len(trial.attempts) for trial in history.trials] == [1] * 4


def test_an_array_that_did_not_see_its_plan_is_a_free_retry(layout, fake_slurm):
    study = launched_chain(layout)
    fake_slurm.run_released(layout)
    advance(layout, study, SlurmBackend())
    mine = fake_slurm.arrays()[1]
    fake_slurm.change(mine["id"], states=["COMPLETED"] * 2)
    fake_slurm.change(fake_slurm.planners()[1]["id"], states=["COMPLETED"])
    run_on(layout, study, fake_slurm)
    trials = read_history(layout).trials
    assert [trial.state.value for trial in trials] == ["COMPLETE"] * 4
    assert [[attempt.outcome.value for attempt in trial.attempts] for trial in trials[2:]] == [
        ["interrupted", "complete"]
    ] * 2


def test_cancel_ends_the_whole_chain_and_resume_submits_a_new_one(layout, fake_slurm):
    study = launched_chain(layout)
    cancel(layout, SlurmBackend())
    assert all(state == {"CANCELLED"} for state in element_states(fake_slurm))
    assert set_going(layout, study, SlurmBackend()).kind == "stopped"
    lift_stop(layout)
    assert set_going(layout, study, SlurmBackend(), again=True).kind == "submitted"
    run_on(layout, study, fake_slurm)
    trials = read_history(layout).trials
    assert [trial.state.value for trial in trials] == ["COMPLETE"] * 4


def test_a_lost_planner_is_submitted_after_its_array_again(layout, fake_slurm):
    study = launched_chain(layout)
    fake_slurm.change(fake_slurm.planners()[0]["id"], states=["CANCELLED"])
    set_going(layout, study, SlurmBackend())
    mended = fake_slurm.planners()[-1]
    assert mended["after"] == [fake_slurm.arrays()[0]["id"]] and mended["states"] == ["PENDING"]


@pytest.mark.parametrize("name", [*fail_points.ADVANCE[2:-2], "pair laid"])
def test_a_launch_killed_within_a_pair_is_finished_by_the_next_one(layout, fake_slurm, monkeypatch, name):
    study = spec(**STUDY)
    create(layout, study)
    submit = SlurmBackend.submit

    def lay() -> None:
        set_going(layout, study, SlurmBackend())

    def submit_and_die(self: SlurmBackend, request: WaveRequest) -> list[ArrayJob]:
        os.environ[VARIABLE] = name if request.wave == 1 else ""
        return submit(self, request)

    with monkeypatch.context() as patch:
        patch.setattr(SlurmBackend, "submit", submit_and_die)
        assert processes.end(processes.begin(lay)) == -signal.SIGKILL
    assert processes.end(processes.begin(lay)) == 0
    arrays = [job for job in fake_slurm.arrays() if set(job["states"]) != {"CANCELLED"}]
    assert [int(job["name"].split("-w")[1][:4]) for job in arrays] == list(range(WAVES + 3))
    assert len({job["comment"] for job in fake_slurm.planners()}) == len(fake_slurm.planners()) == WAVES + 3
    run_on(layout, study, fake_slurm)
    assert read_history(layout).finished == "4 of 4 trials are done"
    assert [len(trial.attempts) for trial in read_history(layout).trials] == [1] * 4


@pytest.mark.parametrize("name", ["decided", "planned", "surplus cancelled", "one published", "published"])
def test_a_planner_of_a_chain_killed_anywhere_is_replaced_by_the_next_one(layout, fake_slurm, name):
    study = launched_chain(layout, budget={"n_trials": 3})
    died = False
    for _ in range(10):
        fake_slurm.run_released(layout)
        status = processes.step(layout, study, "" if died else name)
        died = died or status != 0
        if status == 0 and read_history(layout).finished:
            break
    history = read_history(layout)
    assert died and history.finished == "3 of 3 trials are done"
    assert [trial.state.value for trial in history.trials] == ["COMPLETE"] * 3


def test_a_wave_whose_release_was_not_recorded_is_followed_by_the_next_one(layout, fake_slurm):
    """The launch was killed between the release and its record, and planner 0 comes before anybody resumes."""
    study = spec(**STUDY)
    create(layout, study)
    assert processes.end(processes.begin(lambda: set_going(layout, study, SlurmBackend()), "released")) < 0
    fake_slurm.run_released(layout)
    assert advance(layout, study, SlurmBackend()).wave == 1
    set_going(layout, study, SlurmBackend(), again=True)
    run_on(layout, study, fake_slurm)
    assert [len(plan.assignments) for plan in read_history(layout).plans] == [2, 2, 0]
    assert fake_slurm.arrays()[1]["states"] == ["COMPLETED"] * 2


def test_a_wave_that_is_still_held_waits_for_resume(layout, fake_slurm):
    study = spec(**STUDY)
    create(layout, study)
    assert processes.end(processes.begin(lambda: set_going(layout, study, SlurmBackend()), "jobs recorded")) < 0
    step = advance(layout, study, SlurmBackend())
    assert (step.kind, step.wave) == ("unsubmitted", 0)
    assert [job["states"] for job in fake_slurm.arrays()] == [["PENDING"] * 2]
