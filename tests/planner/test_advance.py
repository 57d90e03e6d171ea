"""advance(): the chain of waves, and its state after a kill at any point."""

from __future__ import annotations

import json
import os
import time

import pytest

from hposlurm.backend import Usage
from hposlurm.errors import BackendError
from hposlurm.planner import advance, cancel, claim, create, submission
from hposlurm.planner.revise import revise
from hposlurm.planner.study import lift_stop
from hposlurm.records.clock import Clock
from hposlurm.records.history import read_history
from hposlurm.records.plan import read_plan
from hposlurm.trial import Cause, JobState, TrialState
from tests.planner.fake import FakeCluster, Killed, launched, new_layout, params_of, spec


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Shortens the grace times so that a test can wait for them."""
    import hposlurm.planner.ends as module

    for name, value in (("LOST_AFTER_S", 0.2), ("SETTLE_S", 0.2), ("_ASK_AGAIN_S", 0.01)):
        monkeypatch.setattr(module, name, value)


def run_study(layout, cluster, study_spec, **loss):
    create(layout, study_spec)
    steps = [advance(layout, study_spec, cluster)]
    while steps[-1].kind == "submitted":
        cluster.run(**loss)
        steps.append(advance(layout, study_spec, cluster))
    return steps


def test_three_waves_of_four_and_the_end(layout):
    cluster = FakeCluster()
    steps = run_study(layout, cluster, spec())
    assert [s.kind for s in steps] == ["submitted"] * 3 + ["finished"]
    assert steps[-1].message == "12 of 12 trials are done"
    history = read_history(layout)
    assert history.counts()[TrialState.COMPLETE] == 12
    assert [len(p.assignments) for p in history.plans] == [4, 4, 4, 0]
    assert [p["after"] for p in cluster.planners.values()] == [["100"], ["101"], ["102"]]
    assert history.trials[0].params == {"x": 0.5}
    assert layout.database.exists() and layout.results.exists()


def test_the_order_is_submit_planner_release(layout):
    cluster = FakeCluster()
    study = spec()
    create(layout, study)
    advance(layout, study, cluster)
    assert cluster.calls == ["submit", "submit_planner", "release"]


def test_advancing_again_while_a_wave_runs_changes_nothing(layout):
    cluster, study = launched(layout)
    before = sorted(p for p in layout.root.rglob("*") if p.suffix in (".json", ".sbatch"))
    for _ in range(3):
        assert advance(layout, study, cluster).kind == "waiting"
    assert len(cluster.arrays) == len(cluster.planners) == 1
    assert sorted(p for p in layout.root.rglob("*") if p.suffix in (".json", ".sbatch")) == before


def test_a_finished_study_stays_finished(layout):
    cluster, study = FakeCluster(), spec(budget={"n_trials": 4})
    run_study(layout, cluster, study)
    calls = list(cluster.calls)
    assert advance(layout, study, cluster).kind == "finished"
    assert cluster.calls == calls


@pytest.mark.parametrize("moment", ["die_before", "die_after"])
@pytest.mark.parametrize("call", ["submit", "submit_planner", "release"])
@pytest.mark.parametrize("wave", [0, 1])
def test_a_kill_at_any_call_leaves_one_array_per_wave(layout, moment, call, wave):
    cluster, study = FakeCluster(), spec()
    create(layout, study)
    for _ in range(wave):
        advance(layout, study, cluster)
        cluster.run()
    setattr(cluster, moment, call)
    with pytest.raises(Killed):
        advance(layout, study, cluster)
    step = advance(layout, study, cluster)
    while step.kind == "submitted" or (step.kind == "waiting" and cluster.run()):
        cluster.run()
        step = advance(layout, study, cluster)
    assert step.kind == "finished"
    assert len(cluster.arrays) == 3
    assert not any(job["held"] for job in cluster.arrays.values())
    history = read_history(layout)
    assert [len(t.attempts) for t in history.trials] == [1] * 12


@pytest.mark.parametrize("name", ["wave.json", "intent.json", "jobs.json", "planner.json", "released"])
def test_a_kill_right_after_any_file_leaves_one_array_per_wave(layout, monkeypatch, name):
    """A process may die after each record that a step writes."""
    import hposlurm.records.files as files
    import hposlurm.records.plan as plan_module

    armed = [True]

    def dying(write):
        def wrapped(path, data):
            result = write(path, data)
            if armed[0] and path.name == name and path.parent.name == "0001":
                armed[0] = False
                raise Killed
            return result

        return wrapped

    monkeypatch.setattr(plan_module, "create_once", dying(files.create_once))
    monkeypatch.setattr(submission, "create_once", dying(files.create_once))
    monkeypatch.setattr(claim, "create_once", dying(files.create_once))
    monkeypatch.setattr(submission, "publish", dying(files.publish))
    cluster, study = FakeCluster(), spec()
    create(layout, study)
    died = False
    step = None
    while step is None or step.kind != "finished":
        try:
            step = advance(layout, study, cluster)
        except Killed:
            died = True
        cluster.run()
    assert died and not armed[0]
    assert len(cluster.arrays) == 3
    assert [len(t.attempts) for t in read_history(layout).trials] == [1] * 12


def test_a_live_planner_that_is_submitting_is_not_disturbed(layout):
    cluster, study = FakeCluster(), spec()
    create(layout, study)
    cluster.die_before = "submit"
    with pytest.raises(Killed):
        advance(layout, study, cluster)
    intent = layout.wave(0).intent
    record = json.loads(intent.read_bytes())
    intent.write_text(json.dumps({**record, "host": "elsewhere"}))
    step = advance(layout, study, cluster)
    assert (step.kind, step.message) == ("busy", "another planner is submitting wave 0")
    os.utime(intent, (0, 0))  # long ago: dead
    assert advance(layout, study, cluster).kind == "submitted"
    assert advance(layout, study, cluster).kind == "waiting"


def test_a_submission_that_lost_the_race_is_cancelled_and_never_runs(layout, monkeypatch):
    cluster, study = FakeCluster(), spec()
    create(layout, study)
    real = cluster.submit

    def slow_submit(request):
        mine = real(request)
        if len(cluster.arrays) == 1:  # meanwhile another process took over, with its own token
            layout.wave(0).intent.unlink()
            advance(layout, study, cluster)
        return mine

    monkeypatch.setattr(cluster, "submit", slow_submit)
    advance(layout, study, cluster)
    assert cluster.arrays["100"]["state"] is JobState.CANCELLED and cluster.arrays["100"]["held"]
    assert not cluster.arrays["101"]["held"]
    cluster.run()
    assert [len(t.attempts) for t in read_history(layout).trials] == [1] * 4


def test_same_seed_and_results_give_the_same_parameters(tmp_path):
    found = []
    for name in ("a", "b"):
        layout = new_layout(tmp_path / name)
        run_study(layout, FakeCluster(), spec())
        found.append(params_of(layout))
    assert found[0] == found[1]
    other = new_layout(tmp_path / "c")
    run_study(other, FakeCluster(), spec(search={"algorithm": "tpe", "seed": 8}))
    assert params_of(other)[1:] != found[0][1:]


def test_a_failed_trial_is_retried_as_often_as_allowed(layout):
    cluster = FakeCluster()
    study = spec(trial={"command": "x {{ x }}", "retries": 1, "workdir": "/"}, budget={"n_trials": 4})
    run_study(layout, cluster, study, loss=lambda p: "command exited with status 1" if p["x"] == 0.5 else p["x"])
    trials = read_history(layout).trials
    assert [(t.state, len(t.attempts)) for t in trials] == [(TrialState.FAIL, 2)] + [(TrialState.COMPLETE, 1)] * 3
    assert trials[0].reason == "command exited with status 1"


def test_without_an_end_record_the_clusters_state_decides(layout):
    cluster, study = launched(layout, budget={"n_trials": 4})
    cluster.run(loss=lambda _: None)
    states = [JobState.OUT_OF_MEMORY, JobState.NODE_FAIL, JobState.CANCELLED, JobState.COMPLETED]
    cluster.forced = {f"100_{i}": state for i, state in enumerate(states)}
    step = advance(layout, study, cluster)
    trials = read_history(layout).trials
    assert [t.state for t in trials] == [TrialState.FAIL, TrialState.WAITING, TrialState.FAIL, TrialState.FAIL]
    assert "out of memory" in trials[0].reason and trials[2].reason == "cancelled"
    assert "without a result record" in trials[3].reason
    assert step.kind == "submitted" and [a.trial for a in read_history(layout).plans[1].assignments] == [1]


def test_an_unknown_element_is_lost_only_after_a_grace_time(layout):
    cluster, study = launched(layout, budget={"n_trials": 4})
    cluster.run(loss=lambda _: None)
    cluster.forced = {f"100_{i}": JobState.UNKNOWN for i in range(4)}
    assert advance(layout, study, cluster).kind == "submitted"
    trials = read_history(layout).trials
    assert [t.state for t in trials] == [TrialState.WAITING] * 4  # and unknown is never a failure
    assert all("lost" in t.attempts[0].reason for t in trials)


def test_an_element_that_the_cluster_does_not_know_runs_while_its_journal_grows(layout):
    cluster, study = launched(layout)
    cluster.run(loss=lambda p: None if p["x"] == 0.5 else p["x"])
    cluster.forced = {"100_0": JobState.UNKNOWN}
    journal = layout.trial(0).journal(0)

    def report(_seconds: float) -> None:
        line = {"kind": "report", "t": time.time(), "step": len(journal.read_bytes()), "metrics": {"loss": 1.0}}
        with journal.open("a") as file:
            file.write(json.dumps(line) + "\n")

    assert advance(layout, study, cluster, clock=Clock(sleep=report)).kind == "waiting"
    assert advance(layout, study, cluster).kind == "submitted"
    assert read_plan(layout.wave(1)).assignments[0].trial == 0
    assert read_history(layout).trials[0].attempts[0].cause.kind is Cause.LOST


def test_a_wave_without_any_started_element_ends_the_study(layout):
    cluster, study = launched(layout)
    cluster.arrays["100"]["state"] = JobState.FAILED
    wave = layout.wave(0)
    wave.logs.mkdir()
    wave.element_log("100", 0, "err").write_text("python3.99: not found\n")
    step = advance(layout, study, cluster)
    assert step.kind == "finished"
    assert "no element of wave 0 reached its worker" in step.message and "python3.99: not found" in step.message


def test_a_planner_that_vanished_is_replaced(layout):
    cluster, study = launched(layout)
    cluster.planners["900"]["state"] = JobState.FAILED
    assert advance(layout, study, cluster).kind == "waiting"
    assert list(cluster.planners) == ["900", "901"]
    advance(layout, study, cluster)
    assert list(cluster.planners) == ["900", "901"]


def test_gpu_hours_are_settled_by_the_accounting(layout):
    cluster, study = launched(layout, budget={"n_trials": 4})
    cluster.run()
    cluster.accounting = {f"100_{i}": [Usage(JobState.COMPLETED, 3600.0, 2, "n1")] for i in range(4)}
    advance(layout, study, cluster)
    assert read_history(layout).gpu_hours == 8.0


def test_late_accounting_is_settled_by_a_later_wave(layout):
    cluster, study = launched(layout, budget={"n_trials": 8})
    cluster.run()
    cluster.accounting = {}
    advance(layout, study, cluster)
    cluster.run()
    cluster.accounting = {f"{a}_{i}": [Usage(JobState.COMPLETED, 1800.0, 2)] for a in (100, 101) for i in range(4)}
    advance(layout, study, cluster)
    assert read_history(layout).gpu_hours == 8.0


def test_cancel_is_final_until_resume(layout):
    cluster, study = launched(layout)
    cluster.calls.clear()
    said = cancel(layout, cluster)
    assert "jobs 100" in said and "planner 900" in said
    assert layout.stop.exists()
    assert cluster.planners["900"]["state"] is JobState.CANCELLED
    assert advance(layout, study, cluster).kind == "stopped"  # what afterany starts although the array was cancelled
    assert len(cluster.arrays) == 1

    lift_stop(layout)
    step = advance(layout, study, cluster, again=True)
    assert step.kind == "submitted"
    assert [a.trial for a in read_history(layout).plans[1].assignments] == [0, 1, 2, 3]
    while step.kind == "submitted":
        cluster.run()
        step = advance(layout, study, cluster)
    assert read_history(layout).counts()[TrialState.COMPLETE] == 12


def test_a_finished_study_cannot_be_cancelled(layout):
    cluster = FakeCluster()
    run_study(layout, cluster, spec(budget={"n_trials": 4}))
    cluster.calls.clear()
    assert "over already (4 of 4 trials are done)" in cancel(layout, cluster)
    assert not layout.stop.exists() and cluster.calls == []


def test_a_cancelled_element_drops_its_trial_and_the_study_goes_on(layout):
    cluster, study = launched(layout)
    cluster.run(loss=lambda p: "SIGTERM (cancelled or preempted)" if p["x"] == 0.5 else p["x"])
    cluster.forced = {"100_0": JobState.CANCELLED}
    advance(layout, study, cluster)
    trials = read_history(layout).trials
    assert trials[0].state is TrialState.FAIL and trials[0].reason == "cancelled"
    assert len(trials) == 8


def test_a_raised_budget_plans_further_waves(layout):
    cluster, study = FakeCluster(), spec(budget={"n_trials": 4})
    run_study(layout, cluster, study)
    raised = revise(layout, ["budget.n_trials=8"])
    assert layout.revisions() == [0, 1]
    step = advance(layout, raised, cluster, again=True)
    assert step.kind == "submitted"
    cluster.run()
    assert advance(layout, raised, cluster).message == "8 of 8 trials are done"


def test_an_exhausted_space_ends_the_study_with_a_message(layout):
    study = spec(
        parameters={"x": {"choices": [1.0, 2.0, 3.0]}},
        search={"algorithm": "random", "seed": 1},
        waves={"size": 2, "mode": "barrier"},
    )
    steps = run_study(layout, FakeCluster(), study, loss=lambda p: p["x"])
    assert steps[-1].message == "the search space is exhausted after 3 trials"


def test_a_refused_submission_can_be_repeated(layout):
    class Refusing(FakeCluster):
        refuse = True

        def submit(self, request):
            if self.refuse:
                raise BackendError("sbatch refused: Invalid account")
            return super().submit(request)

    cluster, study = Refusing(), spec()
    create(layout, study)
    with pytest.raises(BackendError, match="Invalid account"):
        advance(layout, study, cluster)
    cluster.refuse = False
    assert advance(layout, study, cluster).kind == "submitted"
    assert len(cluster.arrays) == 1


@pytest.mark.parametrize(
    ("keys", "wanted"), [({}, (0.95, 5)), ({"memory_warning_pct": 0.8, "memory_grace_steps": 0}, (0.8, 0)),
                         ({"memory_guard": "off"}, (None, 5))],
)  # fmt: skip
def test_the_plan_has_the_workers_memory_guard(layout, keys, wanted):
    study = spec(trial={"command": "x {{ x }}", "workdir": "/", **keys})
    create(layout, study)
    advance(layout, study, FakeCluster())
    plan = read_plan(layout.wave(0))
    assert (plan.memory_warning, plan.memory_grace_steps) == wanted
