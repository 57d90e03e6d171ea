"""How trials end and continue over several waves: which are infeasible, which are retried, and which are not."""

from __future__ import annotations

import pytest

from hposlurm.backend import Usage
from hposlurm.decisions import choice
from hposlurm.planner import advance
from hposlurm.records.history import read_history
from hposlurm.search import next_requests
from hposlurm.trial import JobState, TrialState
from tests.planner.fake import NO_ROOM, FakeCluster, launched

pytestmark = pytest.mark.usefixtures("impatient")
PREEMPTED = "SIGTERM (cancelled or preempted)"
ONE_WAVE = {"n_trials": 4}
OUT_OF_TIME = "SIGUSR2 (time limit ahead)"


def retrying(retries: int) -> dict:
    return {"trial": {"command": "x {{ x }}", "retries": retries, "workdir": "/"}}


def test_an_infeasible_trial_is_never_retried_and_the_search_knows_it(layout, monkeypatch):
    cluster, study = launched(layout, budget={"n_trials": 8}, **retrying(3))
    cluster.run(loss=lambda p: NO_ROOM if p["x"] == 0.5 else p["x"])
    seen = []
    monkeypatch.setattr(choice, "next_requests", lambda *args: seen.append(args[1]) or next_requests(*args))
    advance(layout, study, cluster)
    trial = read_history(layout).trials[0]
    assert (trial.state, trial.infeasible, trial.reason) == (TrialState.FAIL, True, NO_ROOM)
    assert [a.trial for a in read_history(layout).plans[1].assignments] == [4, 5, 6, 7]
    assert [o.infeasible for o in seen[0]] == [True, False, False, False]


@pytest.mark.parametrize("has_accounting", [True, False])
def test_a_kill_in_a_job_that_ran_out_of_memory_is_infeasible(layout, has_accounting):
    cluster, study = launched(layout, budget=ONE_WAVE, **retrying(3))
    cluster.run(loss=lambda p: "command was killed by signal 9" if p["x"] == 0.5 else p["x"])
    cluster.forced = {"100_0": JobState.OUT_OF_MEMORY}
    if has_accounting:
        states = [JobState.OUT_OF_MEMORY, *[JobState.COMPLETED] * 3]
        cluster.accounting = {f"100_{i}": [Usage(state, 9.0, 2)] for i, state in enumerate(states)}
    assert advance(layout, study, cluster).kind == "finished"
    trial = read_history(layout).trials[0]
    assert trial.infeasible and trial.reason.startswith("out of memory")


def test_the_time_limit_is_free_as_long_as_there_is_progress(layout):
    cluster, study = launched(layout, budget=ONE_WAVE)
    for step in (1, 2, 3):
        cluster.run(loss=lambda p: OUT_OF_TIME if p["x"] == 0.5 else p["x"], saved=step)
        assert advance(layout, study, cluster).kind == "submitted"
    cluster.run()
    assert advance(layout, study, cluster).kind == "finished"
    trials = read_history(layout).trials
    assert [(t.state, len(t.attempts)) for t in trials] == [(TrialState.COMPLETE, 4)] + [(TrialState.COMPLETE, 1)] * 3


def test_the_same_step_twice_at_the_time_limit_ends_the_retries(layout):
    cluster, study = launched(layout, budget=ONE_WAVE, **retrying(9))
    while advance(layout, study, cluster).kind != "finished":
        cluster.run(loss=lambda p: OUT_OF_TIME if p["x"] == 0.5 else p["x"], saved=3)
    trial = read_history(layout).trials[0]
    assert (trial.state, len(trial.attempts)) == (TrialState.FAIL, 3)  # saved, then twice the same step
    assert trial.reason == (
        "no progress: attempts 1 and 2 both ended at step 3: "
        "time limit: the job used up resources.time at step 3, without new progress"
    )


def test_the_time_limit_without_a_checkpoint_is_a_counted_retry(layout):
    cluster, study = launched(layout, budget=ONE_WAVE)
    cluster.run(loss=lambda p: OUT_OF_TIME if p["x"] == 0.5 else p["x"])
    assert advance(layout, study, cluster).kind == "finished"
    assert "without a checkpoint to go on from" in read_history(layout).trials[0].reason


def test_preemption_is_free_only_a_limited_number_of_times(layout):
    cluster, study = launched(layout, budget=ONE_WAVE)
    while advance(layout, study, cluster).kind != "finished":
        cluster.run(loss=lambda p: PREEMPTED if p["x"] == 0.5 else p["x"])
    trial = read_history(layout).trials[0]
    assert (trial.state, len(trial.attempts)) == (TrialState.FAIL, 10)
    assert trial.reason == f"no progress: 10 attempts in a row ended before a first step; the last: {PREEMPTED}"


def test_a_wave_without_any_known_state_ends_the_study_but_no_trial(layout):
    cluster, study = launched(layout, budget=ONE_WAVE)
    cluster.arrays["100"]["state"] = JobState.UNKNOWN
    step = advance(layout, study, cluster)
    assert step.kind == "finished" and "no element of wave 0 reached its worker" in step.message
    assert "no element of wave 0" in (read_history(layout).paused or "")
    assert {t.state for t in read_history(layout).trials} == {TrialState.WAITING}
    assert advance(layout, study, cluster, again=True).kind == "submitted"
    assert [a.trial for a in read_history(layout).plans[-1].assignments] == [0, 1, 2, 3]


def test_the_requeued_runs_of_an_element_are_attempts_and_are_paid_for(layout):
    cluster, study = launched(layout, budget=ONE_WAVE)
    cluster.run()
    runs = {f"100_{i}": [Usage(JobState.COMPLETED, 1800.0, 2, "n1")] for i in range(4)}
    cluster.accounting = runs | {"100_1": [*runs["100_1"], Usage(JobState.NODE_FAIL, 1800.0, 2, "n2")]}
    advance(layout, study, cluster)
    history = read_history(layout)
    assert [len(t.attempts) for t in history.trials] == [1, 2, 1, 1]
    assert history.gpu_hours == 5.0


def broken_on(cluster: FakeCluster, *nodes: str) -> None:
    """Runs a wave with one element per node; elements on these nodes fail."""
    (job_id,) = [j for j, job in cluster.arrays.items() if job["state"] is JobState.PENDING]
    usable = [n for n in cluster.known_nodes if n not in cluster.arrays[job_id]["request"].exclude]
    values = iter([f"command exited with status 1 on {n}" if n in nodes else 0.5 for n in usable * 4])
    cluster.run(loss=lambda _: next(values), host=lambda index: usable[index % len(usable)])


def test_a_node_on_which_two_trials_failed_is_excluded_from_then_on(layout):
    cluster, study = launched(layout, budget={"n_trials": 16})
    broken_on(cluster, "n2")
    advance(layout, study, cluster)
    assert read_history(layout).plans[1].exclude == ()
    broken_on(cluster, "n2")
    advance(layout, study, cluster)
    assert read_history(layout).plans[2].exclude == ("n2",)
    assert cluster.arrays["102"]["request"].exclude == ("n2",)
    broken_on(cluster, "n2")
    advance(layout, study, cluster)
    assert read_history(layout).plans[3].exclude == ("n2",)
    assert read_history(layout).counts()[TrialState.FAIL] == 2


def test_a_command_that_fails_everywhere_excludes_nothing(layout):
    cluster, study = launched(layout, budget={"n_trials": 12})
    for _ in range(3):
        broken_on(cluster, "n0", "n1", "n2", "n3")
        assert advance(layout, study, cluster).message.startswith("paused: ")
        advance(layout, study, cluster, again=True)
    assert {plan.exclude for plan in read_history(layout).plans} == {()}


def test_more_than_half_of_the_nodes_are_not_excluded_and_the_plan_says_so(layout):
    cluster, study = launched(layout, budget={"n_trials": 16})
    for _ in range(3):
        broken_on(cluster, "n0", "n1")
        cluster.known_nodes = ("n0", "n1", "n9")  # the others have left the partition
        advance(layout, study, cluster)
        cluster.known_nodes = ("n0", "n1", "n2", "n3")
    plan = read_history(layout).plans[3]
    assert plan.exclude == ()
    assert plan.exclude_note == "trials fail on n0, n1, more than half of the 3 usable nodes: none of them is excluded"
