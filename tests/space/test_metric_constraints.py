"""Limits on measured metrics: when they hold, and that what breaks them comes last."""

from __future__ import annotations

import pytest

from hposlurm.records.ranking import ranked
from hposlurm.space.expressions import parse
from hposlurm.space.metric_constraints import Limits
from hposlurm.trial import Attempt, Direction, Objective, Outcome, Trial, TrialState


def limits(*texts: str, **facts: float) -> Limits:
    return Limits(tuple(map(parse, texts)), frozenset({"peak_gpu_gb", "acc"}), facts)


@pytest.mark.parametrize(
    ("text", "params", "metrics", "expected"),
    [
        ("peak_gpu_gb <= 30", {}, {"peak_gpu_gb": 30.0}, 0.0),
        ("peak_gpu_gb <= 30", {}, {"peak_gpu_gb": 33.5}, 3.5),
        ("peak_gpu_gb <= 30", {}, {}, 1.0),  # nobody knows
        ("peak_gpu_gb <= 30", {}, {"peak_gpu_gb": "nan"}, 1.0),
        ("peak_gpu_gb <= memory - bs", {"bs": 4}, {"peak_gpu_gb": 30.0}, 2.0),
        ("acc >= momentum", {"bs": 4}, {"acc": 0.1}, 0.0),  # momentum is inactive
    ],
)
def test_a_limit_holds_on_what_was_measured(
    text: str, params: dict[str, float], metrics: dict[str, float | str], expected: float
) -> None:
    found = limits(text, memory=32.0)
    assert found.violations(params, metrics) == (pytest.approx(expected),)
    assert found.is_feasible(params, metrics) is (expected == 0)


def test_a_complaint_names_the_limit_and_the_values_in_it() -> None:
    found = limits("peak_gpu_gb <= 30", "acc > 0.5", "peak_gpu_gb < 99")
    complaints = found.complaints({}, {"peak_gpu_gb": 33.125})
    assert complaints == ("peak_gpu_gb <= 30: peak_gpu_gb is 33.125", "acc > 0.5: acc is unknown")


def test_while_more_may_come_a_limit_on_what_is_not_known_yet_is_not_broken() -> None:
    found = limits("peak_gpu_gb <= 30", "acc > 0.5", "acc + peak_gpu_gb < 1")
    assert found.violations({}, {"peak_gpu_gb": 33.0}, is_over=False) == (3.0, 0.0, 0.0)
    assert found.complaints({}, {"peak_gpu_gb": 33.0}, is_over=False) == ("peak_gpu_gb <= 30: peak_gpu_gb is 33",)
    assert found.violations({}, {"acc": "nan"}, is_over=False) == (0.0, 1.0, 0.0)  # what is no number is known


def trial(number: int, loss: float, acc: float, peak: float | None = None, other: float = 0.0) -> Trial:
    metrics = {"loss": loss, "acc": acc}
    attempt = Attempt(0, 0, 0, "1_0", "n", 1, 1.0, outcome=Outcome.COMPLETE, metrics=metrics, peak_gpu_gb=peak)
    return Trial(number, {}, "", 0, 0, TrialState.COMPLETE, values=(loss, other), attempts=(attempt,))


def test_feasible_trials_come_first_then_those_that_miss_the_limits_least() -> None:
    trials = [trial(0, 1.0, 0.1), trial(1, 5.0, 0.9), trial(2, 0.5, 0.4), trial(3, 4.0, 0.8)]
    one = [Objective("loss")]
    trials = [Trial(t.number, {}, "", 0, 0, t.state, values=t.values[:1], attempts=t.attempts) for t in trials]
    assert [t.number for t in ranked(trials, one)] == [2, 0, 3, 1]
    assert [t.number for t in ranked(trials, one, limits("acc >= 0.5"))] == [3, 1, 2, 0]


def test_an_infeasible_trial_is_on_no_pareto_front() -> None:
    objectives = [Objective("loss"), Objective("other", Direction.MAXIMIZE)]
    trials = [trial(0, 1.0, 0.1, other=9.0), trial(1, 2.0, 0.9, other=1.0), trial(2, 3.0, 0.9, other=0.5)]
    assert [t.number for t in ranked(trials, objectives, limits("acc >= 0.5"))] == [1, 2, 0]


def test_the_peak_of_all_attempts_counts() -> None:
    heavy, light = trial(0, 1.0, 0.9, peak=31.0), trial(1, 2.0, 0.9, peak=7.0)
    objectives = [Objective("loss"), Objective("other")]
    assert [t.number for t in ranked([heavy, light], objectives, limits("peak_gpu_gb <= 30"))] == [1, 0]
