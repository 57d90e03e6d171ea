"""Compares the rules with their counterparts in Optuna, Ray Tune and SciPy, and tests their settings."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from random import Random

import numpy as np
import optuna
import pytest
from scipy.stats import wilcoxon

from hposlurm.pruning import Curve, PruningDecision, StopRule
from hposlurm.pruning.decision import compared_with, decide
from hposlurm.pruning.wilcoxon import probability_of_greater
from tests.pruning.curves import GAIN, LOSS, TWO, curve, report

ASHA = StopRule("asha_stopping", LOSS, levels=(1, 3, 9))
MEDIAN = StopRule("median", LOSS, warmup_trials=1)


class RayBracket:
    """The bracket of Ray Tune's AsyncHyperBandScheduler, which stops; rewards are to be large."""

    def __init__(self, levels: Sequence[int], reduction_factor: float) -> None:
        self.rf = reduction_factor
        self.rungs: list[tuple[int, dict[int, float]]] = [(level, {}) for level in reversed(levels)]

    def stops(self, trial: int, step: int, reward: float) -> bool:
        for milestone, recorded in self.rungs:
            if step < milestone or trial in recorded:
                continue
            cutoff = np.nanpercentile(list(recorded.values()), (1 - 1 / self.rf) * 100) if recorded else None
            recorded[trial] = reward
            return cutoff is not None and reward < cutoff
        return False


def asked(rule: StopRule, trial: int, curves: dict[int, Curve], level: int | None = None) -> PruningDecision:
    """The decision about the newest report of `trial`."""
    step = curves[trial].points[-1][0]
    return decide(rule, curves[trial], compared_with(rule, trial, curves, step, level), step, level)


@pytest.mark.parametrize("objectives", [LOSS, GAIN])
@pytest.mark.parametrize(("seed", "factor"), [(0, 3), (1, 3), (2, 2), (3, 4), (4, 5)])
def test_asha_stops_exactly_the_trials_that_ray_tune_stops(seed: int, factor: int, objectives: tuple) -> None:
    """200 trials that take turns in a random order."""
    rng, levels = Random(seed), (1, 3, 9)
    rule = replace(ASHA, reduction_factor=factor, objectives=objectives)
    ray, sign = RayBracket(levels, factor), 1.0 if objectives is GAIN else -1.0
    curves = {number: Curve(objectives) for number in range(200)}
    going, stopped = list(curves), 0
    while going:
        trial = rng.choice(going)
        step, value = len(curves[trial].points) + 1, rng.random()
        curves[trial].take(report(step, loss=value))
        stops = step in levels and asked(rule, trial, curves, step).stops
        assert stops == ray.stops(trial, step, sign * value)
        stopped += stops
        if stops or step == 10:
            going.remove(trial)
    assert 200 - 200 // factor < stopped < 200


def test_the_first_trial_at_a_rung_goes_on_and_the_reason_names_that() -> None:
    decision = asked(ASHA, 0, {0: curve(0.5), 1: Curve(LOSS)}, 1)
    assert (decision.stops, decision.value, decision.threshold, decision.others) == (False, 0.5, None, ())
    assert decision.reason == "rung 1: loss 0.5, no trial got here before"


def test_shown_values_are_never_negated() -> None:
    rule = replace(ASHA, objectives=GAIN)
    decision = asked(rule, 0, {n: curve(gain, rule=rule) for n, gain in enumerate((0.2, 0.6, 0.9, 0.9, 0.9))}, 1)
    assert (decision.value, decision.threshold) == (0.2, 0.9)
    assert decision.reason == "rung 1: loss 0.2 is worse than 0.9, which the best 1/3 of the 4 here before reach"


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
@pytest.mark.parametrize(("name", "share"), [("median", 50.0), ("percentile", 25.0), ("percentile", 60.0)])
def test_percentiles_are_those_of_optuna(name: str, share: float, direction: str) -> None:
    objectives = GAIN if direction == "maximize" else LOSS
    rule = StopRule(name, objectives, percentile=share, warmup_trials=5, warmup_steps=2)
    study = optuna.create_study(
        direction=direction,
        pruner=optuna.pruners.PercentilePruner(share, n_startup_trials=5, n_warmup_steps=2),
        sampler=optuna.samplers.RandomSampler(seed=0),
    )
    rng, curves, pruned = Random(int(share)), dict[int, Curve](), 0
    for number in range(40):
        trial, curves[number] = study.ask(), Curve(objectives)
        for step in range(1, 7):
            value = rng.random()
            trial.report(value, step)
            curves[number].take(report(step, loss=value))
            stops = step >= rule.warmup_steps and asked(rule, number, curves).stops
            assert stops == trial.should_prune()
            if stops:
                pruned += 1
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            study.tell(trial, value)
            curves[number].take({"kind": "end", "outcome": "complete"})
    assert pruned


def test_the_wilcoxon_rule_is_that_of_optuna() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pruner = optuna.pruners.WilcoxonPruner(p_threshold=0.2, n_startup_steps=2)
        study = optuna.create_study(pruner=pruner, sampler=optuna.samplers.RandomSampler(seed=0))
        rule = StopRule("wilcoxon", LOSS, p_value=0.2)
        rng, curves, pruned = Random(4), dict[int, Curve](), 0
        for number in range(40):
            trial, curves[number], skill = study.ask(), Curve(LOSS), rng.random()
            for step in range(1, 13):
                value = skill + rng.random()
                trial.report(value, step)
                curves[number].take(report(step, loss=value))
                stops = asked(rule, number, curves).stops
                assert stops == trial.should_prune()
                if stops:
                    pruned += 1
                    study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                    break
            else:
                study.tell(trial, value)  # the last report, as ours has it
                curves[number].take({"kind": "end", "outcome": "complete"})
        assert pruned > 5


def test_a_trial_with_an_equally_good_mean_goes_on_however_often_it_was_worse() -> None:
    rule, other = StopRule("wilcoxon", LOSS), curve(*[5.0] * 10, complete=True)
    often_worse = [5.1 + step / 100 for step in range(9)]
    decision = asked(rule, 0, {0: curve(*often_worse, 1.0), 1: other})
    assert decision.value is not None and decision.value < rule.p_value and not decision.stops
    assert asked(rule, 0, {0: curve(*often_worse, 4.9), 1: other}).stops


@pytest.mark.parametrize("n", [1, 2, 5, 12, 30, 50, 51, 80])
@pytest.mark.parametrize("digits", [6, 1])
def test_the_signed_rank_test_is_that_of_scipy(n: int, digits: int) -> None:
    rng = Random(n)
    for shift in (-0.5, 0.0, 0.7):
        differences = [round(rng.gauss(shift, 1), digits) for _ in range(n)]
        has_ties = len({abs(d) for d in differences}) < n or 0 in differences
        if 13 < n <= 50 and has_ties:
            continue  # there SciPy approximates what is counted here
        expected = wilcoxon(differences, alternative="greater", zero_method="zsplit").pvalue
        assert probability_of_greater(differences) == pytest.approx(expected)


def test_zero_differences_are_not_evidence() -> None:
    assert min(probability_of_greater([0.0] * n) for n in (1, 5, 60)) >= 0.5


def test_median_waits_for_enough_completed_trials_that_reached_the_step() -> None:
    rule = replace(MEDIAN, warmup_trials=3)
    curves = {n: curve(0.1, 0.1, complete=True) for n in range(1, 3)} | {
        3: curve(0.1, 0.1),
        4: curve(0.1, complete=True),
    }
    late = curves | {0: curve(0.9, 0.9)}
    assert not asked(rule, 0, late).stops
    assert asked(rule, 0, curves | {0: curve(0.9)}).stops  # at step 1 there are three


def test_the_best_value_so_far_counts_against_the_median() -> None:
    others = {n: curve(0.5, 0.5, complete=True) for n in range(1, 4)}
    assert not asked(MEDIAN, 0, others | {0: curve(0.4, 0.9)}).stops
    assert asked(MEDIAN, 0, others | {0: curve(0.6, 0.9)}).stops
    assert not asked(MEDIAN, 0, others | {0: curve(0.5, 0.9)}).stops  # as good as the median is not worse


@pytest.mark.parametrize(
    ("losses", "stops"),
    [((3.0, 2.0, 1.0), False), ((1.0, 2.0), False), ((1.0, 2.0, 1.0), True), ((2.0, 3.0, 1.9), False), ((1.0,), False)],
)
def test_patience_counts_reports_without_improvement(losses: tuple[float, ...], stops: bool) -> None:
    assert asked(StopRule("patient", LOSS, patience=2), 0, {0: curve(*losses)}).stops is stops


def test_with_patience_no_rule_stops_a_trial_that_still_improves() -> None:
    others = {n: curve(0.1, 0.1, 0.1, complete=True) for n in range(1, 4)}
    rule = replace(MEDIAN, patience=2)
    assert asked(rule, 0, others | {0: curve(0.5, 0.6, 0.7)}).stops
    spared = asked(rule, 0, others | {0: curve(0.7, 0.6, 0.5)})
    assert not spared.stops
    assert spared.reason.endswith("it goes on while it improves within 2 reports")


@pytest.mark.parametrize(("value", "limit"), [(0.5, None), (1.0, None), (0.0, None), (1.5, 1.0), (-0.5, 0.0)])
def test_threshold_compares_with_the_limits(value: float, limit: float | None) -> None:
    decision = asked(StopRule("threshold", GAIN, lower=0.0, upper=1.0), 0, {0: curve(0.5, value)})
    assert (decision.stops, decision.value, decision.threshold) == (limit is not None, value, limit)


def test_a_value_that_is_not_a_number_violates_every_threshold() -> None:
    broken = curve(0.5)
    broken.take(report(2, loss="nan"))
    decision = decide(StopRule("threshold", LOSS, upper=1.0), broken, {}, 2)
    assert decision.stops
    assert decision.reason == "step 2: loss is nan, which is not a number between lower and upper"


@pytest.mark.parametrize(
    ("compare_by", "stopped"),
    [("first", [False, True, True]), ("weighted", [True, True, False]), ("domination", [False, True, False])],
)
def test_several_objectives_are_compared_as_the_study_says(compare_by: str, stopped: list[bool]) -> None:
    """Trials: best only in the loss, worst in both, best only in the accuracy."""
    rule = StopRule("asha_stopping", TWO, compare_by=compare_by, levels=(1,), reduction_factor=2)
    found = []
    for own in ((0.29, -2.0), (0.7, -0.1), (0.55, 0.9)):
        curves = {number: Curve(TWO) for number in range(4)}
        for number, (loss, acc) in enumerate((own, (0.3, 0.1), (0.5, 0.0), (0.6, 0.0))):
            curves[number].take(report(1, loss=loss, acc=acc))
        found.append(asked(rule, 0, curves, 1).stops)
    assert found == stopped


def test_no_rule_returns_a_number_that_a_journal_cannot_hold() -> None:
    curves = {n: curve(*(math.sin(n + s) for s in range(5)), complete=n > 1) for n in range(8)}
    for rule in (MEDIAN, ASHA, StopRule("wilcoxon", LOSS), StopRule("patient", LOSS, patience=1)):
        decision = asked(rule, 0, curves, 3 if rule is ASHA else None)
        assert all(v is None or math.isfinite(v) for v in (decision.value, decision.threshold))
