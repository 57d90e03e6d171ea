"""simulate(): virtual time, verdicts, and the same decisions as the planner's own."""

from __future__ import annotations

import itertools

import pytest

from hposlurm.decisions import Observer, observe
from hposlurm.errors import RequestError
from hposlurm.planner.decide import next_plan
from hposlurm.records.history import History
from hposlurm.simulation import Cluster, simulate
from hposlurm.trial import JobState, Outcome, TrialState
from tests.simulation.studies import STEPS, study, train

MODES = ("barrier", "overlap", "refill")
FAULTY = Cluster(gpus=4, queue_s=5, start_s=1, planner_s=2, crashes=60, node_failures=90, preemptions=60, seed=5)


def test_every_trial_trains_to_its_end_and_takes_its_own_time():
    found = simulate(study(12), train, Cluster(gpus=4), mode="refill")
    assert [t.state for t in found.history.trials] == [TrialState.COMPLETE] * 12
    for trial in found.history.trials:
        assert trial.runtime_s == pytest.approx(STEPS * (1 + trial.params["y"]))
        assert trial.values == pytest.approx([(trial.params["x"] - 0.3) ** 2 + 1 / STEPS])
    total = sum(STEPS * (1 + t.params["y"]) for t in found.history.trials)
    assert found.trained_s == pytest.approx(total)
    assert found.history.gpu_hours == pytest.approx(total / 3600)


def test_a_barrier_waits_for_the_slowest_of_each_wave():
    found = simulate(study(12, waves={"size": 4}), train, Cluster(gpus=4), mode="barrier")
    slowest = [
        max(STEPS * (1 + t.params["y"]) for t in found.history.trials if t.wave == wave)
        for wave in (plan.wave for plan in found.history.plans if plan.assignments)
    ]
    assert len(slowest) == 3
    assert found.wall_s == pytest.approx(sum(slowest))


def test_overlapping_waves_follow_each_other():
    cluster = Cluster(gpus=4, queue_s=20, planner_s=3, seed=1)
    found = simulate(study(24, waves={"size": 4}), train, cluster, mode="overlap")
    plans = [plan for plan in found.history.plans if plan.assignments]
    assert [plan.created_at - found.begin for plan in plans[:3]] == [0, 0, 0]
    assert [plan.in_flight for plan in plans[:3]] == [(), (0,), (0, 1)]
    assert max(len(plan.in_flight) for plan in plans) == 2
    ends = {n: max(a.ended_at for t in found.history.trials if t.wave == n for a in t.attempts) for n in range(6)}
    starts = {n: min(a.started_at for t in found.history.trials if t.wave == n for a in t.attempts) for n in range(6)}
    for plan in plans[3:]:
        over = [ends[wave] for wave in range(plan.wave) if wave not in plan.in_flight]
        assert plan.created_at == pytest.approx(max(over) + 3)
    for plan in plans:
        assert starts[plan.wave] >= plan.created_at + cluster.wait_s(plan.wave)
    assert any(starts[n + 1] < ends[n] for n in range(5))


def test_an_overlapping_wave_is_settled_when_it_is_over():
    found = simulate(study(24, waves={"size": 4}), train, Cluster(gpus=4, node_failures=300, seed=1), mode="overlap")
    settled = [(plan, s) for plan in found.history.plans for s in plan.settled]
    assert settled
    assert not [s for plan, s in settled if s.wave in plan.in_flight]
    assert {t.state for t in found.history.trials} == {TrialState.COMPLETE}


@pytest.mark.parametrize("mode", MODES)
def test_a_budget_of_gpu_hours_ends_the_study_and_is_not_exceeded(mode):
    sections = {"budget": {"gpu_hours": 0.5}, "resources": {"time": 1}, "waves": {"size": 3}}
    found = simulate(study(None, **sections), train, Cluster(gpus=4), mode=mode)
    assert "gpu_hours" in found.history.finished
    assert 0.4 < found.history.gpu_hours <= 0.5


def test_trials_that_take_no_time_and_nothing_ends_are_refused():
    spec = study(None, budget={"wall_time": 60}, waves={"size": 200})
    with pytest.raises(RequestError, match="took no time"):
        simulate(spec, lambda *_: [(1, {"loss": 1.0}, 0.0)], Cluster(gpus=200), mode="barrier")


@pytest.mark.parametrize("mode", MODES)
def test_no_more_elements_run_at_a_time_than_there_are_slots(mode):
    found = simulate(study(30), train, Cluster(gpus=7), mode=mode)
    spans = [(a.started_at, a.ended_at) for t in found.history.trials for a in t.attempts]
    assert max(sum(a <= start < b for a, b in spans) for start, _ in spans) == 7
    assert len({a.host for t in found.history.trials for a in t.attempts}) == 1


@pytest.mark.parametrize("mode", MODES)
def test_the_same_study_is_the_same_to_the_last_record(mode):
    spec = study(25, trial={"retries": 2}, search={"algorithm": "tpe", "startup_trials": 8})
    one, other = (simulate(spec, train, FAULTY, mode=mode) for _ in range(2))
    assert one.history.plans == other.history.plans
    assert one.journals == other.journals
    assert any(a.outcome is not Outcome.COMPLETE for t in one.history.trials for a in t.attempts)


@pytest.mark.parametrize("mode", MODES)
def test_its_plans_are_those_of_the_planner_from_the_records_of_that_moment(mode):
    waves = {"size": 1, "mode": "barrier"} if mode == "refill" else {"size": 4, "mode": mode}
    spec = study(14, search={"algorithm": "tpe", "startup_trials": 5}, waves=waves)
    found = simulate(spec, train, Cluster(gpus=4), mode=mode)
    for plan in found.history.plans:
        before = _as_of(found, plan.wave, plan.created_at)
        again = next_plan(
            found.layout,
            spec,
            before,
            (),
            wave_size=4,
            gpus=1,
            now=plan.created_at,
            still_open=plan.in_flight,
        )
        assert again == plan
    assert any(plan.in_flight for plan in found.history.plans) == (mode != "barrier")


def _as_of(found, wave, time) -> History:
    """Returns the history of the plans before `wave` and the journal records up to `time`."""
    from hposlurm.simulation.records import SimulatedRecords

    records = SimulatedRecords()
    for plan in found.history.plans[:wave]:
        records.plan(plan)
    for (trial, attempt), journal in found.journals.items():
        for record in itertools.takewhile(lambda r: r["t"] <= time and r.get("wave", 0) < wave, journal):
            records.add(trial, attempt, record)
    return records.history()


def test_observations_of_unchanged_trials_stay_the_same():
    found = simulate(study(20, trial={"retries": 1}), train, FAULTY, mode="refill")
    objectives = study().objectives
    observer = Observer()
    first = observer.observe(found.history, objectives)
    again = observer.observe(found.history, objectives)
    assert all(one is other for one, other in zip(first, again, strict=True))
    assert observe(found.history, objectives) == again


def test_interruptions_are_free_and_training_goes_on_from_the_last_report():
    found = simulate(study(20), train, Cluster(gpus=4, node_failures=200, seed=1), mode="refill")
    attempts = [t.attempts for t in found.history.trials]
    assert {t.state for t in found.history.trials} == {TrialState.COMPLETE}
    cut = [mine for mine in attempts if len(mine) > 1]
    assert cut
    for mine in cut:
        assert all(a.outcome is Outcome.INTERRUPTED and a.job_state is JobState.NODE_FAIL for a in mine[:-1])
        steps = [report.step for a in mine for report in a.reports]
        assert steps == list(range(1, STEPS + 1))


def test_crashes_use_up_retries():
    found = simulate(study(30, trial={"retries": 1}), train, Cluster(gpus=4, crashes=300, seed=2), mode="refill")
    states = found.history.counts()
    assert states[TrialState.FAIL] and states[TrialState.COMPLETE]
    for trial in found.history.trials:
        failures = sum(a.outcome is Outcome.FAIL for a in trial.attempts)
        assert failures == 2 if trial.state is TrialState.FAIL else failures < 2


def test_a_job_that_uses_up_its_time_continues_in_the_next_one():
    def slow(params, from_step, _to_step):
        for step in range(from_step + 1, STEPS + 1):
            yield step, {"loss": params["x"]}, (step - from_step) * 20.0

    spec = study(3, resources={"time": 1})
    found = simulate(spec, slow, Cluster(gpus=2), mode="barrier")
    assert {t.state for t in found.history.trials} == {TrialState.COMPLETE}
    for trial in found.history.trials:
        assert [a.outcome for a in trial.attempts] == [Outcome.INTERRUPTED] * 2 + [Outcome.COMPLETE]
        assert [a.job_state for a in trial.attempts[:2]] == [JobState.TIMEOUT] * 2


def test_an_exception_of_the_function_is_the_trials_failure():
    def broken(params, from_step, to_step):
        if params["x"] > 0.7:
            raise ValueError("the loss is no number")
        if params["x"] < 0.3:
            raise MemoryError("the batch is too large")
        return train(params, from_step, to_step)

    found = simulate(study(20), broken, Cluster(gpus=4), mode="refill")
    for trial in found.history.trials:
        if trial.params["x"] > 0.7:
            assert trial.state is TrialState.FAIL and "ValueError: the loss is no number" in trial.reason
        elif trial.params["x"] < 0.3:
            assert trial.infeasible and trial.reason == "out of GPU memory: the batch is too large"
        else:
            assert trial.state is TrialState.COMPLETE


def test_it_ends_when_its_time_is_over():
    found = simulate(study(None, search={"algorithm": "random"}, budget={"n_trials": 10_000}), train, Cluster(gpus=4),
                     mode="refill", until_s=60)  # fmt: skip
    assert found.wall_s == 60
    assert found.training_share == pytest.approx(1)
    assert all(r.time - found.begin <= 60 for t in found.history.trials for r in t.reports)
    assert found.history.counts()[TrialState.RUNNING] == 4


def test_incumbents_are_the_best_so_far():
    found = simulate(study(20), train, Cluster(gpus=2), mode="refill")
    values = [value for _, value in found.incumbents()]
    assert values == sorted(values, reverse=True)
    assert values[-1] == min(r.metrics["loss"] for t in found.history.trials for r in t.reports)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (5, "5 instead of rows"),
        ([(1, {"loss": 1.0})], "as a row"),
        ([(1, {"loss": 1.0}, 1.0), (1, {"loss": 1.0}, 2.0)], "step 1 after step 1"),
        ([(1, {"loss": 1.0}, 2.0), (2, {"loss": 1.0}, 1.0)], "they must not decrease"),
        ([(1.5, {"loss": 1.0}, 1.0)], "whole number"),
        ([(1, 0.5, 1.0)], "dict of names and numbers"),
        ([(1, {"loss": 1.0}, float("nan"))], "a number, 0 or more"),
    ],
)
def test_a_wrong_answer_is_named(answer, said):
    with pytest.raises(RequestError, match=said):
        simulate(study(2), lambda _params, _from_step, _to_step: answer, Cluster(gpus=1), mode="refill")


def test_a_function_that_cannot_be_called_is_refused_before_anything_runs():
    with pytest.raises(RequestError, match=r"cannot be called as \(params, from_step, to_step\)"):
        simulate(study(2), lambda _params: [], Cluster(gpus=1))
    with pytest.raises(RequestError, match="at least one GPU"):
        Cluster(gpus=0)


def test_seed_and_checkpoint_are_given_where_they_are_taken():
    seen = []

    def stateful(_params, from_step, _to_step, *, seed, checkpoint):
        seen.append((seed, from_step, checkpoint))
        for step in range(from_step + 1, STEPS + 1):
            yield step, {"loss": 1.0}, (step - from_step) * 20.0, f"after {step}"

    simulate(study(1, resources={"time": 1}), stateful, Cluster(gpus=1), mode="barrier")
    assert [(step, checkpoint) for _, step, checkpoint in seen] == [(0, None), (3, "after 3"), (6, "after 6")]
    assert len({seed for seed, _, _ in seen}) == 1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("algorithm", ["asha", "hyperband", "bohb", "auto"])
def test_every_schedule_repeats_its_decisions_and_trains_only_the_steps_that_it_assigns(algorithm, mode):
    spec = study(40, search={"algorithm": algorithm, "min_resource": 1, "max_resource": 9, "reduction_factor": 3})
    one, other = (simulate(spec, train, Cluster(gpus=6, start_s=1), mode=mode) for _ in range(2))
    assert one.history.plans == other.history.plans
    assert one.journals == other.journals
    states = one.history.counts()
    assert states[TrialState.COMPLETE] and not states[TrialState.RUNNING] and not states[TrialState.WAITING]
    for trial in one.history.trials:
        steps = [report.step for attempt in trial.attempts for report in attempt.reports]
        assert steps == list(range(1, len(steps) + 1)), "no step is trained twice"
        assert len(steps) == trial.stages[-1].to_step or trial.stages[-1].to_step is None


POPULATION = {
    "search": {"algorithm": "pbt", "population_size": 6, "perturbation_interval": 3, "max_resource": 9},
    "parameters": {name: {"type": "float", "min": 0.0, "max": 1.0, "mutable": True} for name in "xy"},
}
STOPPED = {"search": {"algorithm": "asha_stopping", "min_resource": 1, "max_resource": 9}}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("sections", [POPULATION, STOPPED], ids=["pbt", "asha_stopping"])
def test_a_study_that_ends_early_ends_in_the_same_way_again(sections, mode):
    spec = study(None if sections is POPULATION else 20, **sections)
    one, other = (simulate(spec, train, Cluster(gpus=6), mode=mode) for _ in range(2))
    assert one.history.plans == other.history.plans
    assert one.journals == other.journals
    states = one.history.counts()
    assert states[TrialState.PRUNED] and states[TrialState.COMPLETE]
    assert states[TrialState.PRUNED] + states[TrialState.COMPLETE] == len(one.history.trials)
    for trial in one.history.trials:
        if trial.state is TrialState.COMPLETE:
            assert trial.attempts[-1].reports[-1].step == 9


def test_promotion_leaves_most_trials_in_the_lowest_rung():
    spec = study(90, search={"algorithm": "asha", "min_resource": 1, "max_resource": 9, "reduction_factor": 3})
    found = simulate(spec, train, Cluster(gpus=8), mode="refill")
    census = [sum(len(t.reports) >= rung for t in found.history.trials) for rung in (1, 3, 9)]
    assert census[0] == 90
    assert 30 <= census[1] <= 36 and 10 <= census[2] <= 13


def test_a_trials_timeout_begins_when_its_command_does():
    spec = study(20, trial={"command": "true {{ x }} {{ y }}", "timeout": "14s"})
    found = simulate(spec, train, Cluster(gpus=4, start_s=3), mode="barrier")
    needed = {t.number: STEPS * (1 + t.params["y"]) for t in found.history.trials}
    in_time = {number for number, seconds in needed.items() if seconds <= 14}
    assert {t.number for t in found.history.trials if t.state is TrialState.COMPLETE} == in_time
    assert any(needed[number] > 11 for number in in_time) and len(in_time) < 20


def test_waiting_trials_that_continue_start_before_new_ones():
    search = {"algorithm": "asha", "seed": 1, "min_resource": 1, "max_resource": 9}
    spec = study(40, search=search, waves={"size": 8})
    found = simulate(spec, train, Cluster(gpus=3), mode="overlap")
    plans = {plan.wave: plan for plan in found.history.plans}
    elements = [
        (a.started_at, plans[a.wave].created_at, a.wave, plans[a.wave].assignments[a.index].from_step > 0)
        for trial in found.history.trials
        for a in trial.attempts
    ]
    overtaken = 0
    for started, _, wave, goes_on in elements:
        if goes_on:
            continue
        late = [e for e in elements if e[1] < started < e[0] and e[3]]
        assert not late, "a trial began while another waited to go on"
        overtaken += sum(e[3] and e[2] > wave and plans[wave].created_at < e[0] < started for e in elements)
    assert overtaken
