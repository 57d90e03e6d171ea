"""The beliefs about rungs after measurements, and how certain they are."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hposlurm.search.auto.trusted import BELIEF, THRESHOLD, beliefs, doubt
from hposlurm.search.rung_correlation import LEAST_PAIRS


def test_before_anything_is_known_every_rung_is_believed_to_predict() -> None:
    few = LEAST_PAIRS - 1
    assert beliefs([math.nan, math.nan], [0, few]) == [BELIEF, BELIEF]
    assert doubt(BELIEF, 0) == doubt(BELIEF, few) == 0.0


def test_measurements_outweigh_the_prior_with_time() -> None:
    first, later, last = (beliefs([0.0], [pairs])[0] for pairs in (5, 20, 200))
    assert first == pytest.approx(4 * BELIEF / 9)
    assert first > later > last > 0


def test_less_is_expected_of_a_rung_after_one_without_information() -> None:
    single = beliefs([0.3], [8])[0]
    after_good = beliefs([0.9, 0.3], [8, 8])[1]
    after_bad = beliefs([0.0, 0.3], [8, 8])[1]
    assert single == after_good > after_bad
    assert after_bad == pytest.approx((8 * 0.3 + 4 * (0.2 + BELIEF) / 2) / 12)


def test_a_rung_that_predicts_is_trusted_whatever_the_previous_one_shows() -> None:
    assert beliefs([-0.5, 0.9], [8, 8])[1] > THRESHOLD


def test_the_doubt_falls_with_the_evidence_for_a_rung() -> None:
    assert doubt(THRESHOLD, 8) == pytest.approx(0.5)
    assert 0.5 > doubt(0.5, 8) > doubt(0.5, 30) > doubt(0.7, 30) > 0
    assert doubt(0.3, 30) > doubt(0.3, 8) > 0.5
    # the normal distribution's share above (0.7 - 0.42) / ((1 - 0.49) / 12)^½ = 1.358 standard errors
    assert doubt(0.7, 8) == pytest.approx(0.0872, abs=1e-4)


@given(st.floats(-1, 1), st.integers(LEAST_PAIRS, 10_000))
def test_the_doubt_is_a_probability(belief: float, pairs: int) -> None:
    assert 0.0 <= doubt(belief, pairs) <= 1.0
