from __future__ import annotations

import math

import numpy as np
import pytest

from hposlurm.search.auto.gaussian import Process, Settings, fit, negative_log_posterior


def data(n: int = 25, features: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.random((n, features))
    y = np.sin(4 * x[:, 0]) + 0.3 * x[:, 1] + 0.01 * rng.standard_normal(n)
    return x, (y - y.mean()) / y.std()


@pytest.mark.parametrize("seed", range(4))
def test_the_gradient_is_that_of_the_posterior(seed: int) -> None:
    x, y = data(seed=seed)
    squares = (x[:, None] - x[None]) ** 2
    at = np.random.default_rng(seed).normal(-1.0, 0.7, size=5)
    _, gradient = negative_log_posterior(at, squares, y)
    for i, step in enumerate(np.eye(5) * 1e-5):
        above, below = (negative_log_posterior(at + sign * step, squares, y)[0] for sign in (1, -1))
        assert gradient[i] == pytest.approx((above - below) / 2e-5, rel=1e-4, abs=1e-5)


def test_the_posterior_equals_the_formula_of_the_density() -> None:
    x, y = data(n=6)
    settings = Settings((-0.3, 0.2, 0.1), 0.4, -2.0)
    scaled = x / np.exp(settings.log_lengths)
    r = math.sqrt(5) * np.linalg.norm(scaled[:, None] - scaled[None], axis=-1)
    gram = math.exp(0.4) * (1 + r + r**2 / 3) * np.exp(-r) + (math.exp(-2.0) + 1e-8) * np.eye(6)
    likelihood = 0.5 * y @ np.linalg.solve(gram, y) + 0.5 * np.linalg.slogdet(gram)[1]
    prior = sum((v - math.log(1.5)) ** 2 / 2 for v in settings.log_lengths) + 0.4**2 / 2
    prior += ((-2.0 - math.log(0.01)) / 2) ** 2 / 2
    value, _ = negative_log_posterior(settings.vector(), (x[:, None] - x[None]) ** 2, y)
    assert value == pytest.approx(likelihood + prior)


def test_a_fit_is_more_probable_than_its_start_and_finds_the_relevant_feature() -> None:
    x, y = data(n=60)
    start = Settings.default(3)
    found = fit(x, y, [start])
    squares = (x[:, None] - x[None]) ** 2
    before, after = (negative_log_posterior(s.vector(), squares, y)[0] for s in (start, found))
    assert after < before
    assert found.log_lengths[0] < found.log_lengths[2]


def test_of_several_starts_the_best_result_counts() -> None:
    """From short lengths a search ends where every point is an island, from long ones in a wave."""
    rng = np.random.default_rng(0)
    x = rng.random((10, 1))
    y = np.sin(20 * x[:, 0]) + 0.5 * rng.standard_normal(10)
    y = (y - y.mean()) / y.std()
    trap, default = Settings((math.log(0.05),), 0.0, math.log(1e-4)), Settings.default(1)
    assert fit(x, y, [trap, default]) == fit(x, y, [default, trap]) == fit(x, y, [default]) != fit(x, y, [trap])


def test_predictions_pass_through_the_data_and_are_unsure_elsewhere() -> None:
    x, y = data()
    process = Process(Settings((-0.7, -0.7, -0.7), 0.0, math.log(1e-4)), x, y)
    mean, deviation = process.predict(x)
    np.testing.assert_allclose(mean, y, atol=0.05)
    assert deviation.max() < 0.02
    far, unsure = process.predict(np.full((1, 3), 50.0))
    assert far[0] == pytest.approx(0.0, abs=1e-6) and unsure[0] == pytest.approx(1.0)


def test_later_beliefs_count_like_data() -> None:
    x, y = data()
    settings = Settings((-0.5, 0.0, 0.3), 0.2, -3.0)
    early = Process(settings, x[:20], y[:20])
    at = np.random.default_rng(5).random((10, 3))
    later, whole = early.believing(x[20:], y[20:]), Process(settings, x, y)
    np.testing.assert_allclose(later.predict(at), whole.predict(at), atol=1e-9)


def test_a_believed_mean_changes_no_mean_but_reduces_the_deviation() -> None:
    x, y = data()
    process = Process(Settings.default(3), x, y)
    at = np.array([[0.9, 0.1, 0.5]])
    believer = process.believing(at)
    np.testing.assert_allclose(believer.mean(at), process.mean(at), atol=1e-9)
    assert believer.predict(at)[1][0] < process.predict(at)[1][0]


def test_different_losses_of_one_point_are_noise() -> None:
    x = np.repeat(np.linspace(0, 1, 8)[:, None], 2, axis=0)
    y = np.tile([1.0, -1.0], 8)
    found = fit(x, y, [Settings.default(1)])
    assert math.exp(found.log_noise) > 0.3
    assert np.abs(Process(found, x, y).mean(x)).max() < 0.3
