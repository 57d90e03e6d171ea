"""The comparison of searches: its clock, the pipe to other tools, the tables, and the tools that are installed."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from searchbench import peers, results
from searchbench.clock import Ask, Course, drive
from searchbench.tasks import Task, load_task

SETTING = {"seed": 3, "min_step": 3, "factor": 3, "max_step": 27, "workers": 4}
#: Where tests look for environments that --peers made.
CACHE = Path(os.environ.get("HPOSLURM_PEERS") or peers.DEFAULT_CACHE)


def _task() -> Task:
    """A step takes as many seconds as the parameter says; the loss at step s is `x / s`."""

    def curve(params):
        steps = np.arange(1, 5)
        return params["x"] / steps, steps * float(params["x"])

    return Task("fake", [{"name": "x", "type": "float", "low": 1.0, "high": 9.0}], 4, curve, best_known=0.0)


class Script:
    """A tool that asks for what it was told to, answers reports by (trial, step), and writes down what it hears."""

    def __init__(self, asks, verdicts=()):
        self.asks, self.verdicts, self.heard = list(asks), dict(verdicts), []

    def ask(self):
        return self.asks.pop(0) if self.asks else None

    def report(self, trial, step, loss, is_last):
        self.heard.append((trial, step, loss, is_last))
        return self.verdicts.get((trial, step), True)


def test_every_step_is_reported_in_the_order_of_time():
    tool = Script([Ask("slow", {"x": 3.0}), Ask("fast", {"x": 2.0}, to_step=2)])
    course = drive(tool, _task(), workers=2, until_s=100.0)
    assert [(trial, step) for trial, step, _, _ in tool.heard] == [
        ("fast", 1), ("slow", 1), ("fast", 2), ("slow", 2), ("slow", 3), ("slow", 4),
    ]  # fmt: skip
    assert [is_last for _, _, _, is_last in tool.heard] == [False, False, True, False, False, True]
    assert course.found == [(2.0, 2.0), (4.0, 1.0), (12.0, 0.75)]
    assert course.ended_at == Counter({2: 1, 4: 1})


def test_a_trial_that_is_stopped_frees_its_worker_at_once():
    tool = Script([Ask("a", {"x": 5.0}), Ask("b", {"x": 1.0})], {("a", 1): False})
    course = drive(tool, _task(), workers=1, until_s=100.0)
    assert [(trial, step) for trial, step, _, _ in tool.heard] == [("a", 1), *(("b", step) for step in (1, 2, 3, 4))]
    assert course.found[1] == (6.0, 1.0)
    assert course.ended_at == Counter({1: 1, 4: 1})


def test_a_trial_that_is_promoted_goes_on_where_it_was_and_counts_once():
    tool = Script([Ask("a", {"x": 2.0}, to_step=1), Ask("b", {"x": 4.0}, to_step=1), Ask("a", {"x": 2.0})])
    course = drive(tool, _task(), workers=1, until_s=100.0)
    assert [(trial, step) for trial, step, _, _ in tool.heard] == [("a", 1), ("b", 1), ("a", 2), ("a", 3), ("a", 4)]
    assert course.found == [(2.0, 2.0), (8.0, 1.0), (10.0, 2 / 3), (12.0, 0.5)]
    assert +course.ended_at == Counter({1: 1, 4: 1})


def test_a_trial_that_is_asked_for_without_anything_left_to_train_is_an_error():
    tool = Script([Ask("a", {"x": 2.0}, to_step=2), Ask("a", {"x": 2.0}, to_step=2)])
    with pytest.raises(ValueError, match="trial a is at step 2 already and was asked to go to 2"):
        drive(tool, _task(), workers=1, until_s=100.0)


def test_a_copy_goes_on_from_the_state_of_the_other_trial_with_parameters_of_its_own():
    def add(params, state):
        total = (state or 0.0) + params["x"]
        return total, 1.0, total

    task = Task("adds", [], 4, lambda _: None, memory=add)
    asks = [Ask("a", {"x": 1.0}), Ask("b", {"x": 10.0}, copy_of="a"), Ask("a", {"x": 1.0})]
    tool = Script(asks, {("a", 2): False})
    course = drive(tool, task, workers=1, until_s=100.0)
    assert [(trial, step, loss) for trial, step, loss, _ in tool.heard] == [
        ("a", 1, 1.0), ("a", 2, 2.0), ("b", 3, 12.0), ("b", 4, 22.0), ("a", 3, 3.0), ("a", 4, 4.0),
    ]  # fmt: skip
    assert +course.ended_at == Counter({4: 2})


def test_training_from_state_to_state_is_the_curve_where_the_parameters_stay():
    for name in ("schedule", "noisy"):
        task = load_task(name, None)
        params = task.sample(np.random.default_rng(1))
        losses, seconds = task.curve(params)
        state, took = None, 0.0
        for step in range(task.max_step):
            loss, more, state = task.advance(params, state)
            took += more
            assert loss == losses[step]
            assert took == pytest.approx(seconds[step])


def test_our_population_comes_nearer_than_the_best_constant_setting():
    from searchbench import ours

    task = load_task("schedule", None)
    course = ours.course(task, "pbt", {**SETTING, "workers": 8}, 2 * task.scale[3])
    assert course.found[-1][1] < task.scale[2]
    assert +course.ended_at == Counter({**dict.fromkeys(range(3, 30, 3), 2), 30: 8})


def test_what_would_be_reached_after_the_end_is_not_reported():
    tool = Script([Ask("a", {"x": 2.0}), Ask("b", {"x": 2.0})])
    course = drive(tool, _task(), workers=1, until_s=5.0)
    assert course.found == [(2.0, 2.0), (4.0, 1.0)]
    assert not course.ended_at
    assert [ask.trial for ask in tool.asks] == ["b"]


def test_a_worker_without_anything_to_do_asks_again_when_another_trial_has_ended():
    class Waits(Script):
        def ask(self):
            return None if self.heard == [] and len(self.asks) == 1 else super().ask()

    tool = Waits([Ask("a", {"x": 1.0}, to_step=1), Ask("b", {"x": 1.0}, to_step=1)])
    assert drive(tool, _task(), workers=2, until_s=100.0).ended_at == Counter({1: 2})
    assert [trial for trial, *_ in tool.heard] == ["a", "b"]


def test_a_tool_says_over_the_pipe_what_it_says_without_one():
    from searchbench.tools.optuna_tool import OptunaTool

    task = load_task("discrete", None)
    setting = {**SETTING, "algorithm": "optuna-random-sha", "space": task.space}

    class Direct:
        tool = OptunaTool(setting)

        def ask(self):
            return Ask(**self.tool.ask())

        def report(self, *arguments):
            return self.tool.report(*arguments)

    remote = peers.Remote("optuna", CACHE)
    courses = []
    for _ in range(2):  # the second study in the same process knows nothing of the first
        remote.open(setting)
        courses.append(drive(remote, task, 4, 1500.0))
    remote.close()
    assert courses[0] == courses[1] == drive(Direct(), task, 4, 1500.0)
    assert set(courses[0].ended_at) == {3, 9, 27}


def test_an_error_of_the_tool_is_shown_as_its_own():
    remote = peers.Remote("optuna", CACHE)
    with pytest.raises(RuntimeError, match=r"optuna failed at open:[\s\S]*KeyError: 'algorithm'"):
        remote.open({})
    remote.close()


@pytest.mark.parametrize("algorithm", peers.all_of(["ray", "syne", "neps"]))
def test_another_tool_gives_the_same_study_twice_with_its_rungs(algorithm):
    name = peers.peer_of(algorithm)
    if peers.python_of(name, CACHE) is None:
        pytest.skip(f"{peers.version_of(name)} is not under {CACHE}: bench_search.py --peers {name} installs it")
    task = load_task("conditional", None)
    remote = peers.Remote(name, CACHE)
    courses = []
    for _ in range(2):
        remote.open({**SETTING, "algorithm": algorithm, "space": task.space})
        courses.append(drive(remote, task, 4, 2500.0))
    remote.close()
    assert courses[0] == courses[1]
    rungs = {"syne-tpe": {27}, "syne-pbt": {3, 27}}.get(algorithm, {3, 9, 27})
    assert rungs <= set(+courses[0].ended_at)


def _result(**fields):
    common = {"workers": 8, "points": [5, 12, 25], "reaches_random": None, "ended_at": {}}
    return {"task": "t", "algorithm": "a", "seed": 0, "regret": [0.5, 0.2, 0.1], **common, **fields}


def test_a_line_that_was_torn_is_written_again(tmp_path):
    path = tmp_path / "bench.jsonl"
    results.append(path, _result(seed=0))
    with path.open("a") as file:
        file.write('{"task": "t", "algo')
    assert [result["seed"] for result in results.read(path)] == [0]
    results.append(path, _result(seed=1))
    assert [result["seed"] for result in results.read(path)] == [0, 1]


def test_the_score_is_between_the_median_random_point_and_the_best_known_one():
    task = Task("t", [], 4, lambda _: None, best_known=0.0, _scale=(1.0, 3.0, 1.2, 100.0))
    course = Course([(10.0, 5.0), (400.0, 2.0), (1300.0, 1.1), (9999.0, 1.0)], Counter({3: 2, 9: 0}))
    scored = results.score(task, course, [5, 12, 25])
    assert scored == {"regret": [0.5, 0.5, 0.05], "reaches_random": 13.0, "ended_at": {"3": 2}}


def test_tables_take_medians_over_seeds_and_geometric_means_over_tasks():
    rows = [
        _result(seed=seed, regret=[value, value, 0.0], reaches_random=reaches, ended_at={"3": 30 + seed, "27": 9})
        for seed, value, reaches in ((0, 0.1, 4.0), (1, 0.4, None), (2, 0.2, 6.0))
    ] + [_result(task="u", regret=[0.8, 0.05, 0.05])]
    assert "| t | a | 8 | 3 | 0.200/0.200/0.000 | 6.0 |" in results.per_task(rows)
    assert "| a | 2 | 1 to 3 | 0.400/0.100/0.007 | 1 of 2 |" in results.per_algorithm(rows)
    assert "| a | 4 | 3: 23, 27: 7 |" in results.census(rows)
