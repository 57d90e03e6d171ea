"""Failed trials run again once their cause is gone: by an order of a person, or with more retries."""

from __future__ import annotations

import time
from typing import Any

import pytest

from hposlurm.backend.slurm import SlurmBackend
from hposlurm.decisions import DecisionMemory, WarmStart, decide_again, moments
from hposlurm.errors import RequestError, StudyError
from hposlurm.planner import advance, create, order_retry, revise, set_going
from hposlurm.records.clock import Clock
from hposlurm.records.history import History, as_of, read_history
from hposlurm.records.layout import StudyLayout
from hposlurm.records.plan import read_plan
from hposlurm.refill.batches import add_batch
from hposlurm.spec import StudySpec
from hposlurm.trial import JobState, TrialState
from tests.fake_slurm import FakeSlurm
from tests.planner.fake import BROKEN, NO_ROOM, TRIAL, FakeCluster, launched, spec, states, write_attempt
from tests.refill.studies import Lab

pytestmark = pytest.mark.usefixtures("impatient")
# The attempts of the fake cluster end two seconds after they are written
LATER = Clock(now=lambda: time.time() + 5)


def run_out(layout: StudyLayout, study: StudySpec, cluster: FakeCluster, *, again: bool = False, **options: Any) -> str:
    """Runs the study to its end; the reason."""
    step = advance(layout, study, cluster, again=again, clock=LATER)
    for _ in range(40):
        if step.kind == "finished":
            return step.message
        cluster.run(**options)
        step = advance(layout, study, cluster, clock=LATER)
    raise AssertionError(step)


def ended(layout: StudyLayout, **changes: Any) -> tuple[FakeCluster, StudySpec]:
    """A study that has ended, in which the trials with a positive x failed."""
    cluster, study = FakeCluster(), spec(**{"budget": {"n_trials": 8}, **changes})
    create(layout, study)
    run_out(layout, study, cluster, loss=lambda p: BROKEN if p["x"] > 0 else p["x"])
    return cluster, study


def failed(layout: StudyLayout) -> tuple[int, ...]:
    return tuple(t.number for t in read_history(layout).trials if t.state is TrialState.FAIL)


def order(layout: StudyLayout, *trials: int) -> tuple[int, ...]:
    return order_retry(layout, read_history(layout), read_history(layout).plans[-1].created_at, trials)


@pytest.mark.parametrize("mode", ["barrier", "overlap"])
def test_failed_trials_run_again_and_their_new_end_is_their_result(layout, mode):
    cluster, study = ended(layout, waves={"size": 4, "mode": mode})
    lost = failed(layout)
    done = {t.number: t.values for t in read_history(layout).trials if t.state is TrialState.COMPLETE}
    assert lost and done
    assert order(layout) == lost
    assert {read_history(layout).trial(n).state for n in lost} == {TrialState.WAITING}
    assert run_out(layout, study, cluster, again=True) == "8 of 8 trials are done"
    trials = read_history(layout).trials
    assert [t.state for t in trials] == [TrialState.COMPLETE] * 8
    assert [len(t.attempts) for t in trials] == [2 if t.number in lost else 1 for t in trials]
    assert {n: trials[n].values for n in done} == done


def test_only_the_named_trials_run_again(layout):
    cluster, study = ended(layout)
    first, *rest = failed(layout)
    assert order(layout, first, first) == (first,)
    run_out(layout, study, cluster, again=True)
    assert failed(layout) == tuple(rest)
    assert read_history(layout).trial(first).state is TrialState.COMPLETE


def test_a_trial_that_fails_again_has_failed_and_can_be_ordered_again(layout):
    cluster, study = ended(layout, trial={**TRIAL, "retries": 1})
    assert {len(read_history(layout).trial(n).attempts) for n in failed(layout)} == {2}
    for attempts in (4, 6):  # it has its retries again
        lost = order(layout)
        run_out(layout, study, cluster, again=True, loss=lambda _: BROKEN)
        assert failed(layout) == lost
        assert {len(read_history(layout).trial(n).attempts) for n in lost} == {attempts}


def test_what_needs_too_much_memory_or_was_cancelled_runs_again_only_if_it_is_named(layout):
    cluster, study = launched(layout, budget={"n_trials": 4})
    xs = [a.params["x"] for a in read_plan(layout.wave(0)).assignments]
    cluster.cancelled = {"100_2"}
    cluster.run(loss=lambda p: {xs[0]: NO_ROOM, xs[1]: BROKEN}.get(p["x"], 1.0))
    assert advance(layout, study, cluster).kind == "finished"
    assert failed(layout) == (0, 1, 2)
    assert order(layout) == (1,)
    with pytest.raises(RequestError, match=r"no trial has failed by itself; .* name them: 0, 2"):
        order(layout)
    assert order(layout, 2, 0) == (0, 2)
    cluster.cancelled = set()
    run_out(layout, study, cluster, again=True)
    assert states(layout) == [TrialState.COMPLETE] * 4


def test_what_has_not_failed_is_never_run_again(layout):
    ended(layout)
    good = next(n for n in range(8) if n not in failed(layout))
    with pytest.raises(RequestError, match=rf"trial {good} has not failed, it is COMPLETE; these have: "):
        order(layout, failed(layout)[0], good)
    with pytest.raises(RequestError, match=r"there is no trial 8; the study's trials: 0 to 7"):
        order(layout, 8)
    assert layout.retry_orders() == []  # nothing half done
    order(layout)
    with pytest.raises(RequestError, match=r"it is WAITING; no trial of the study has"):
        order(layout, 0)
    with pytest.raises(RequestError, match=r"no trial has failed$"):
        order(layout)


def test_a_trial_of_a_running_wave_waits_for_its_end(layout):
    cluster, study = launched(layout, budget={"n_trials": 12})
    cluster.run(loss=lambda p: BROKEN if p["x"] == 0.5 else p["x"])
    cluster.arrays["100"]["state"] = JobState.RUNNING
    assert order(layout) == (0,)
    cluster.arrays["100"]["state"] = JobState.COMPLETED
    advance(layout, study, cluster)
    assert [a.trial for a in read_plan(layout.wave(1)).assignments] == [0, 4, 5, 6]


def test_more_retries_count_for_trials_that_failed_with_fewer(layout):
    cluster, study = ended(layout)
    lost = failed(layout)
    study = revise(layout, ["trial.retries=1"])
    assert run_out(layout, study, cluster, again=True) == "8 of 8 trials are done"
    assert states(layout) == [TrialState.COMPLETE] * 8
    assert {len(read_history(layout).trial(n).attempts) for n in lost} == {2}


def test_more_retries_in_a_running_study_count_in_its_next_wave(layout):
    cluster, study = launched(layout)
    cluster.run(loss=lambda p: BROKEN if p["x"] == 0.5 else p["x"])
    study = revise(layout, ["trial.retries=1"])
    advance(layout, study, cluster)
    assert [a.trial for a in read_plan(layout.wave(1)).assignments] == [0, 4, 5, 6]


def test_a_used_up_budget_is_the_reason_that_is_given(layout):
    cluster, study = ended(layout, budget={"n_trials": 8, "wall_time": "0:10:00"})
    count = len(order(layout))
    over = study.model_copy(update={"budget": study.budget.model_copy(update={"wall_time_min": 0.0})})
    step = advance(layout, over, cluster, again=True)
    assert step.kind == "finished" and step.message.startswith("wall_time: 0:00:0")
    assert step.message.endswith(f"{count} trial{' was' if count == 1 else 's were'} left to be tried again")


@pytest.mark.parametrize("algorithm", ["asha", "successive_halving", "hyperband", "bohb"])
def test_at_rungs_a_trial_that_runs_again_competes_with_the_others(layout, algorithm):
    search = {"algorithm": algorithm, "seed": 3, "min_resource": 1, "max_resource": 9}
    cluster, study = FakeCluster(), spec(search=search, budget={"n_trials": 9}, waves={"mode": "barrier"})
    create(layout, study)
    run_staged(layout, study, cluster, lambda p: BROKEN if p["x"] == 0.5 else abs(p["x"] - 0.5))
    assert failed(layout) == (0,)
    assert order(layout) == (0,)
    run_staged(layout, study, cluster, lambda p: abs(p["x"] - 0.5), again=True)
    best = read_history(layout).trial(0)
    assert best.state is TrialState.COMPLETE and best.values == (0.0,), read_history(layout).counts()


def run_staged(layout: StudyLayout, study: StudySpec, cluster: FakeCluster, loss: Any, *, again: bool = False) -> None:
    """Runs a study whose trials are trained in stages to its end."""
    step = advance(layout, study, cluster, again=again)
    for _ in range(60):
        if step.kind == "finished":
            return
        for job_id, job in cluster.arrays.items():
            if job["state"] is not JobState.PENDING:
                continue
            wave = job["request"].wave
            for i, a in enumerate(read_plan(layout.wave(wave)).assignments):
                value = loss(dict(a.params))
                write_attempt(
                    layout,
                    wave,
                    i,
                    a.trial,
                    f"{job_id}_{i}",
                    value,
                    saved=a.to_step,
                    stage=a.stage,
                    step=a.to_step or 1,
                )
            job["state"] = JobState.COMPLETED
        step = advance(layout, study, cluster)
    raise AssertionError(step)


PBT = {
    "search": {"algorithm": "pbt", "seed": 5, "population_size": 4, "perturbation_interval": 1, "max_resource": 2},
    "parameters": {"x": {"type": "float", "min": -1.0, "max": 1.0, "default": 0.5, "mutable": True}},
    "waves": {},
    "budget": {},
}


def test_a_member_whose_place_in_the_population_is_taken_stays_failed(layout):
    cluster, study = FakeCluster(), spec(**PBT)
    create(layout, study)
    run_staged(layout, study, cluster, lambda p: BROKEN if p["x"] == 0.5 else p["x"])
    assert failed(layout) == (0,)
    with pytest.raises(RequestError, match=r"trial 0 cannot run again: trial \d+ has its place in the population"):
        order(layout, 0)
    with pytest.raises(RequestError, match=r"no trial has failed$"):
        order(layout)


def test_a_population_of_which_every_member_failed_can_be_run_again(layout):
    cluster, study = FakeCluster(), spec(**PBT)
    create(layout, study)
    run_staged(layout, study, cluster, lambda _: BROKEN)
    assert order(layout) == (0, 1, 2, 3)
    run_staged(layout, study, cluster, lambda p: p["x"], again=True)
    assert str(read_history(layout).finished).startswith("the population of 4 has ended its 2 generations")


def test_a_running_refill_wave_hands_the_trial_out_again(tmp_path):
    lab = Lab(tmp_path, budget={"n_trials": 12})
    for element in range(4):
        lab.start(element)
    lab.end(0, BROKEN)
    assert order(lab.layout) == (0,)
    lab.end(1)
    add_batch(lab.layout, 0, read_plan(lab.layout.wave(0)).created_at + 1)
    assert 0 in lab.assigned()[4:]
    element = next(e for e in range(4, 12) if lab.start(e) == 0)
    lab.end(element, 0.25)
    trial = read_history(lab.layout).trial(0)
    assert (trial.state, trial.values, len(trial.attempts)) == (TrialState.COMPLETE, (0.25,), 2)


def test_a_finished_refill_study_begins_another_wave_for_them(tmp_path):
    lab = Lab(tmp_path, budget={"n_trials": 4})
    for element in range(4):
        lab.start(element)
        lab.end(element, BROKEN if element == 2 else 1.0)
    lab.over()
    assert lab.step() == "finished"
    assert order(lab.layout) == (2,)
    assert advance(lab.layout, lab.study, lab.cluster, again=True).kind == "submitted"
    assert lab.assigned() == [2]


def test_a_chain_takes_them_with_its_next_pair(layout: StudyLayout, fake_slurm: FakeSlurm) -> None:
    chain = {"search": {"algorithm": "random", "seed": 7}, "slurm": {"driver": "chain"}, "waves": {"size": 2}}
    study = spec(**chain, budget={"n_trials": 4})
    create(layout, study)
    set_going(layout, study, SlurmBackend())
    for _ in range(8):
        fake_slurm.run_released(layout, loss=lambda p: BROKEN if p["x"] == 0.5 else p["x"])
        if advance(layout, study, SlurmBackend()).kind == "finished":
            break
    assert order(layout) == (0,)
    set_going(layout, study, SlurmBackend(), again=True)
    for _ in range(8):
        fake_slurm.run_released(layout)
        if advance(layout, study, SlurmBackend()).kind == "finished":
            break
    assert states(layout) == [TrialState.COMPLETE] * 4


def test_decisions_after_an_order_are_the_same_when_they_are_made_again(layout):
    cluster, study = ended(layout, budget={"n_trials": 6})
    order(layout)
    study = revise(layout, ["budget.n_trials=12"])
    run_out(layout, study, cluster, again=True)
    history = read_history(layout)
    made = [_sends_all(study, history, moment) for moment in moments(layout, history) if moment.wave > 2]
    assert made and all(made)


def test_the_history_of_an_earlier_moment_has_only_the_orders_given_by_then(layout):
    ended(layout, budget={"n_trials": 6})
    lost = order(layout)
    history = read_history(layout)
    given = history.orders[0].created_at
    for time_s, state in ((given - 1, TrialState.FAIL), (given, TrialState.WAITING)):
        then = as_of(history, history.plans, (), time_s, frozenset(), 0)
        assert {then.trial(number).state for number in lost} == {state}


def _sends_all(study: StudySpec, history: History, moment: Any) -> bool:
    decision = decide_again(study, history, moment, WarmStart(), DecisionMemory())
    before = {a.trial for plan in moment.plans for a in plan.assignments}
    return all(decision.sends(a) for a in moment.assignments if a.trial not in before)


def test_a_damaged_order_is_named(layout):
    ended(layout)
    order(layout)
    layout.retry_order(1).write_text('{"format": 1, "created_at": "x"}')
    with pytest.raises(StudyError, match=r"retry\.1\.json is damaged: .*restore it from a backup"):
        read_history(layout)


def test_two_orders_at_once_are_both_kept(layout, monkeypatch):
    ended(layout)
    first, second = failed(layout)[:2]
    order(layout, first)
    monkeypatch.setattr(StudyLayout, "retry_orders", lambda _: [])  # as a listing that is older than the other order
    order(layout, second)
    monkeypatch.undo()
    assert layout.retry_orders() == [1, 2]
    assert [one.trial for o in read_history(layout).orders for one in o.trials] == [first, second]
