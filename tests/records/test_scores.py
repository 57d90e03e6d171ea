"""Scores: objectives that are computed from what a trial reports."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hposlurm.records.scores import ScoreFormula, score_formulas, with_scores
from hposlurm.trial import Direction, Efficiency, Objective, Term

SMALL = Objective("eval_loss_score", efficiency=Efficiency("n_parameters", 1e9, 0.1))


def score(objective: Objective, metrics: dict[str, float | str], **known: object) -> float | str | None:
    return with_scores(metrics, known, score_formulas([objective])).get(objective.metric)


def test_the_smaller_model_wins_though_its_loss_is_higher() -> None:
    large = score(SMALL, {"eval_loss": 0.099, "n_parameters": 1e9})
    small = score(SMALL, {"eval_loss": 0.100, "n_parameters": 5e8})
    assert large == pytest.approx(0.1089) and small == pytest.approx(0.105)


def test_of_a_value_to_maximise_a_cost_takes_away() -> None:
    f1 = Objective("f1_score", Direction.MAXIMIZE, efficiency=Efficiency("n_parameters", 1e9, 0.1))
    assert score(f1, {"f1": 0.9, "n_parameters": 1e9}) == pytest.approx(0.9 / 1.1)


def test_a_weighted_sum_with_scales_that_are_named() -> None:
    both = Objective("score", terms=(Term("eval_loss", 1.0, 2.0), Term("val/latency-ms", 0.5, 100.0), Term("f1", -1.0)))
    assert score(both, {"eval_loss": 1.0, "val/latency-ms": 40.0, "f1": 0.5}) == pytest.approx(0.5 + 0.2 - 0.5)


def test_a_cost_that_was_reported_once_or_is_a_parameter_counts_for_all_reports() -> None:
    assert score(SMALL, {"eval_loss": 1.0}, n_parameters=5e8) == pytest.approx(1.05)
    assert score(SMALL, {"n_parameters": 5e8}, eval_loss=1.0) == pytest.approx(1.05)
    assert score(SMALL, {"eval_loss": 1.0}) is None
    assert score(SMALL, {"f1": 1.0}, eval_loss=1.0, n_parameters=5e8) is None


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_what_diverged_has_a_score_that_diverged(value: str) -> None:
    assert score(SMALL, {"eval_loss": value}, n_parameters=5e8) == "nan"
    assert score(SMALL, {"eval_loss": "text"}, n_parameters=5e8) is None


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(min_value=0, allow_nan=False, allow_infinity=False))
def test_any_number_makes_a_number_or_nan(loss: float, cost: float) -> None:
    found = with_scores({"eval_loss": loss, "n_parameters": cost}, {}, score_formulas([SMALL]))["eval_loss_score"]
    assert found in ("nan", "inf", "-inf") or (isinstance(found, float) and math.isfinite(found))


def test_the_other_metrics_stay_and_the_report_is_not_changed() -> None:
    metrics: dict[str, float | str] = {"eval_loss": 1.0, "n_parameters": 1e9}
    assert with_scores(metrics, {}, [ScoreFormula("s", "eval_loss * 2")]) == {**metrics, "s": 2.0}
    assert "s" not in metrics
