"""The Parzen estimators, and the arithmetic of the expected improvement."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hposlurm.search.auto import gaussian, parzen
from hposlurm.search.auto.acquisition import chosen_data, log_expected_improvement, mutations, standardised
from hposlurm.search.auto.encoding import Encoder
from hposlurm.search.auto.gaussian import Settings
from hposlurm.search.auto.records import LossTable, LossTables
from hposlurm.search.auto.surrogate import Kept, Surrogate
from hposlurm.search.observation import Observation
from hposlurm.space import CategoricalParameter, FloatParameter, IntParameter, SearchSpace
from hposlurm.space.expressions import parse
from hposlurm.trial import Objective, TrialState

LINE = Encoder(SearchSpace((FloatParameter("x", 0.0, 1.0),)))
BRANCHED = Encoder(
    SearchSpace(
        (
            CategoricalParameter("kind", ("a", "b", "c")),
            FloatParameter("x", 0.0, 1.0, condition=parse('kind == "a"')),
            IntParameter("n", 1, 5),
        )
    )
)


def test_the_density_of_a_number_integrates_to_one() -> None:
    mixture = parzen.Mixture(LINE, np.array([[0.02], [0.5], [0.52], [1.0]]))
    grid = (np.arange(4000)[:, None] + 0.5) / 4000
    assert np.exp(mixture.log_density(grid)).mean() == pytest.approx(1.0, abs=1e-3)


def test_the_masses_of_choices_sum_to_one() -> None:
    space = Encoder(SearchSpace((CategoricalParameter("kind", ("a", "b", "c")),)))
    mixture = parzen.Mixture(space, np.array([[0.0], [0.0], [2.0]]))
    masses = np.exp(mixture.log_density(np.array([[0.0], [1.0], [2.0]])))
    assert masses.sum() == pytest.approx(1.0)
    assert masses[0] > masses[2] > masses[1]


@pytest.mark.parametrize("rows", [np.array([[0.1], [0.12], [0.9]]), np.empty((0, 1))])
def test_draws_follow_the_density(rows: np.ndarray) -> None:
    mixture = parzen.Mixture(LINE, rows)
    draws = mixture.draw(np.random.default_rng(0), 4000)[:, 0]
    centres = (np.arange(1000)[:, None] + 0.5) / 1000
    density = np.exp(mixture.log_density(centres)).reshape(10, 100).mean(axis=1) / 10
    np.testing.assert_allclose(np.histogram(draws, bins=10, range=(0, 1))[0] / 4000, density, atol=0.03)


def test_proposals_lie_where_good_trials_are_denser_than_bad_ones() -> None:
    rng = np.random.default_rng(0)
    rows = rng.random((100, 1))
    best = [
        parzen.propose(LINE, np.random.default_rng(i), rows, np.abs(rows[:, 0] - 0.3), rows[:0])[0, 0]
        for i in range(30)
    ]
    assert abs(float(np.median(best)) - 0.3) < 0.1


def test_proposals_keep_away_from_running_trials() -> None:
    rows = np.linspace(0, 1, 200)[:, None]
    losses = np.minimum(np.abs(rows[:, 0] - 0.25), np.abs(rows[:, 0] - 0.75))

    def share_on_the_right(running: np.ndarray) -> float:
        found = [parzen.propose(LINE, np.random.default_rng(i), rows, losses, running)[0, 0] for i in range(40)]
        return float(np.mean(np.array(found) > 0.5))

    assert share_on_the_right(rows[:0]) < 0.8
    assert share_on_the_right(np.full((10, 1), 0.25)) == 1.0


def test_conditional_spaces_are_drawn_from_and_measured_without_gaps() -> None:
    rows = BRANCHED.uniform(np.random.default_rng(0), 40)
    found = parzen.propose(BRANCHED, np.random.default_rng(1), rows, rows[:, 2], rows[:3])
    assert all(BRANCHED.space.contains(BRANCHED.point(row)) for row in found)
    assert np.isfinite(parzen.Mixture(BRANCHED, rows).log_density(found)).all()


@pytest.mark.parametrize(("mean", "deviation"), [(0.5, 1.0), (-2.0, 0.3), (3.0, 1.0), (0.0, 1e-3)])
def test_the_expected_improvement_equals_its_integral(mean: float, deviation: float) -> None:
    z = np.linspace(-12, 12, 200_001)
    gain = np.maximum(0.4 - (mean + deviation * z), 0) * np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    expected = math.log(gain.sum() * (z[1] - z[0]))
    found = log_expected_improvement(np.array([mean]), np.array([deviation]), 0.4)[0]
    assert found == pytest.approx(expected, abs=1e-3)


def test_the_improvement_still_ranks_points_far_above_the_best() -> None:
    gain = log_expected_improvement(np.linspace(1, 60, 300), np.ones(300), 0.0)
    assert np.isfinite(gain).all() and (np.diff(gain) < 0).all()


def test_bad_losses_are_compressed_and_infinite_ones_are_worst() -> None:
    z = standardised(np.array([1.0, 2.0, 3.0, 4.0, 5.0, 1e9, math.inf]))
    assert np.isfinite(z).all() and z.mean() == pytest.approx(0.0) and z.std() == pytest.approx(1.0)
    assert (np.diff(z) >= 0).all() and z[6] == z.max()
    assert z[5] - z[4] < 4 * (z[4] - z[0])
    assert standardised(np.full(4, 2.0)).tolist() == [0.0] * 4


def test_of_many_data_the_best_of_every_rung_are_kept() -> None:
    rng = np.random.default_rng(0)
    rungs = np.repeat([0, 1, 2], [300, 100, 30])
    losses = rng.random(430) + 3 - rungs  # the lowest rung's are all worse than the highest's
    chosen = chosen_data(losses, rungs, rng, 150)
    assert len(chosen) == len(set(chosen.tolist())) == 150
    for rung in range(3):
        own = np.flatnonzero(rungs == rung)
        assert set(own[np.argsort(losses[own])[:20]].tolist()) <= set(chosen.tolist())
    assert chosen_data(losses[:100], rungs[:100], rng, 150).tolist() == list(range(100))


def test_mutations_reach_the_faces_of_the_box_and_stay_in_it() -> None:
    encoder = Encoder(SearchSpace((FloatParameter("x", 0.0, 1.0), FloatParameter("y", 0.0, 1.0))))
    rows = mutations(encoder, np.random.default_rng(0), np.array([[0.95, 0.5]]), 500)
    assert rows.min() >= 0 and rows.max() <= 1
    assert (rows[:, 0] == 1.0).sum() > 50
    assert (rows != [0.95, 0.5]).any(axis=1).all()


@pytest.mark.parametrize("seed", range(3))
def test_no_random_point_promises_as_much_as_variations_of_the_best(seed: int) -> None:
    encoder = Encoder(SearchSpace(tuple(FloatParameter(name, 0.0, 1.0) for name in "abcdef")))
    rng = np.random.default_rng(seed)
    points = [encoder.point(row) for row in encoder.uniform(rng, 30)]
    losses = [sum((float(value or 0) - 0.7) ** 2 for value in point.values()) for point in points]
    seen = [Observation(i, points[i], TrialState.COMPLETE, (losses[i],)) for i in range(30)]
    surrogate = Surrogate(encoder, LossTables(encoder, Objective("loss"), (None,)).read(seen), None, 30, rng)
    random = encoder.uniform(rng, 1000)
    ranked = surrogate.ranked(rng, random)
    where = [i for i, row in enumerate(ranked) if (row == random).all(axis=1).any()]
    assert len(where) == 1000 and where[0] >= 50


def test_settings_fitted_to_other_rungs_are_not_a_start() -> None:
    early = Kept(20, Settings.default(2)).to_json()
    late = Kept(30, Settings.default(2), lowest=2).to_json()
    of_old = {"trials": 10, "settings": Settings.default(2).vector().tolist()}  # as earlier versions wrote them
    attrs = [{"gp": of_old}, {"gp": early}, {"gp": late}, {"gp": {"trials": 40, "settings": [0.0]}}, {}]
    assert Kept.newest(attrs, "gp", 2, 0) == Kept(20, Settings.default(2))
    assert Kept.newest(attrs, "gp", 2, 2) == Kept(30, Settings.default(2), lowest=2)
    assert Kept.newest(attrs, "gp", 2, 1) is None
    assert Kept.newest(attrs[:1], "gp", 2, 0) == Kept(10, Settings.default(2))
    assert Kept.newest(attrs, "gp", 3, 0) is None


def test_kept_settings_are_not_a_trap() -> None:
    """Settings that explained few points may be far from those that explain many: the search also starts afresh."""
    rng = np.random.default_rng(0)
    points = [LINE.point(row) for row in LINE.uniform(rng, 10)]
    losses = [math.sin(20 * float(point["x"] or 0)) + 0.5 * rng.standard_normal() for point in points]
    seen = [Observation(i, points[i], TrialState.COMPLETE, (losses[i],)) for i in range(10)]
    records = LossTables(LINE, Objective("loss"), (None,)).read(seen)
    trap = Settings((math.log(0.05),), 0.0, math.log(1e-4))
    afresh = Surrogate(LINE, records, None, 10, np.random.default_rng(1))
    again = Surrogate(LINE, records, Kept(4, trap), 10, np.random.default_rng(1))
    fresh_enough = Surrogate(LINE, records, Kept(10, trap), 10, np.random.default_rng(1))
    assert again.kept == afresh.kept != Kept(10, gaussian.fit(*_seen_of(records), [trap]))
    assert fresh_enough.kept == Kept(10, trap)


def _seen_of(records: LossTable) -> tuple[np.ndarray, np.ndarray]:
    return records.rows, standardised(records.losses[:, 0])
