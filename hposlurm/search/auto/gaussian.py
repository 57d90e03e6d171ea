"""A small Gaussian process: Matern-5/2 with one length scale per feature, and noise. Needs only NumPy and SciPy.

Its settings are the most probable ones (MAP), found by L-BFGS with the exact gradient. Its input and output are
standardised losses.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular

Floats = NDArray[np.float64]

# Features lie between 0 and 1, losses have a variance of 1. A length of 10 makes a feature irrelevant, noise of 1 makes
# all losses noise; below .05 and 1e-4 the process would go through every point of its data. Not tuned.
LENGTH_BOUNDS = (0.05, 10.0)
SCALE_BOUNDS = (0.05, 20.0)
NOISE_BOUNDS = (1e-4, 1.0)
# Mean and standard deviation of the logarithm. Long, because with few trials a short length makes every new point a
# guess. It was .5; with 1.5 and the surrogate's ROUNDS the regret is .82 ± .13 times as high at 5 full trainings. The
# other two: not tuned.
LENGTH_PRIOR = (math.log(1.5), 1.0)
SCALE_PRIOR = (0.0, 1.0)
NOISE_PRIOR = (math.log(0.01), 2.0)
ITERATIONS = 30  # of L-BFGS from each start; not tuned
JITTER = 1e-8  # on the diagonal, so that the matrix has a Cholesky factor even if two rows are equal
_ROOT5 = math.sqrt(5.0)


@dataclass(frozen=True, slots=True)
class Settings:
    """The logarithms of the length scales, of the variance and of the noise's variance."""

    log_lengths: tuple[float, ...]
    log_scale: float = 0.0
    log_noise: float = NOISE_PRIOR[0]

    @classmethod
    def default(cls, features: int) -> Settings:
        return cls((LENGTH_PRIOR[0],) * features)

    @classmethod
    def from_vector(cls, vector: Sequence[float]) -> Settings:
        *lengths, scale, noise = (float(v) for v in vector)
        return cls(tuple(lengths), scale, noise)

    def vector(self) -> Floats:
        return np.array([*self.log_lengths, self.log_scale, self.log_noise])


class Process:
    """A Gaussian process with these settings that predicts losses from the losses `y` at the rows of `x`."""

    def __init__(self, settings: Settings, x: Floats, y: Floats) -> None:
        self._settings = settings
        self._inverse_lengths = np.exp(-np.array(settings.log_lengths))
        self._scale = math.exp(settings.log_scale)
        self._x = x * self._inverse_lengths
        self._y = y
        gram = self._kernel(self._x, self._x)
        gram[np.diag_indices_from(gram)] += math.exp(settings.log_noise) + JITTER
        self._factor = cholesky(gram, lower=True, check_finite=False)
        self._weights = cho_solve((self._factor, True), y, check_finite=False)

    def mean(self, x: Floats) -> Floats:
        return np.asarray(self._kernel(x * self._inverse_lengths, self._x) @ self._weights)

    def predict(self, x: Floats) -> tuple[Floats, Floats]:
        """Returns mean and standard deviation of the loss without the noise of one evaluation."""
        cross = self._kernel(x * self._inverse_lengths, self._x)
        half = solve_triangular(self._factor, cross.T, lower=True, check_finite=False)
        variance = self._scale - np.einsum("ij,ij->j", half, half)
        return cross @ self._weights, np.sqrt(np.maximum(variance, 1e-12))

    def believing(self, x: Floats, y: Floats | None = None) -> Process:
        """Returns the process with `y` (None: its own mean) as further losses at `x`."""
        if not len(x):
            return self
        believed = self.mean(x) if y is None else y
        new = object.__new__(Process)
        new._settings, new._inverse_lengths, new._scale = self._settings, self._inverse_lengths, self._scale
        scaled = x * self._inverse_lengths
        old, k = len(self._x), len(x)
        corner = self._kernel(scaled, scaled)
        corner[np.diag_indices_from(corner)] += math.exp(self._settings.log_noise) + JITTER
        side = solve_triangular(self._factor, self._kernel(self._x, scaled), lower=True, check_finite=False)
        factor = np.zeros((old + k, old + k))
        factor[:old, :old] = self._factor
        factor[old:, :old] = side.T
        factor[old:, old:] = cholesky(corner - side.T @ side, lower=True, check_finite=False)
        new._x, new._y, new._factor = np.vstack([self._x, scaled]), np.concatenate([self._y, believed]), factor
        new._weights = cho_solve((factor, True), new._y, check_finite=False)
        return new

    def _kernel(self, a: Floats, b: Floats) -> Floats:
        distance = _distances(a, b)
        distance *= _ROOT5
        return np.asarray(self._scale * (1.0 + distance + distance * distance / 3.0) * np.exp(-distance))


def fit(x: Floats, y: Floats, starts: Sequence[Settings]) -> Settings:
    """Returns the most probable settings; searches from each of `starts`, because few points may mislead a search."""
    from scipy.optimize import minimize  # 0.1 s to import; only few suggestions need it

    squares = (x[:, None, :] - x[None, :, :]) ** 2
    features = x.shape[1]
    bounds = [LENGTH_BOUNDS] * features + [SCALE_BOUNDS, NOISE_BOUNDS]
    logs = [(math.log(low), math.log(high)) for low, high in bounds]
    lows, highs = [low for low, _ in logs], [high for _, high in logs]
    found = [
        minimize(
            lambda vector: negative_log_posterior(vector, squares, y),
            np.clip(start.vector(), lows, highs),
            jac=True,
            method="L-BFGS-B",
            bounds=logs,
            options={"maxiter": ITERATIONS},
        )
        for start in starts
    ]
    return Settings.from_vector(min(found, key=lambda end: float(end.fun)).x)


def negative_log_posterior(vector: Floats, squares: Floats, y: Floats) -> tuple[float, Floats]:
    """Returns minus the log of likelihood times priors, and its gradient, at settings from `Settings.vector`.

    `squares` has the squared differences of all pairs of rows, one matrix per feature, the feature last. Returns a huge
    value if the matrix has no Cholesky factor.
    """
    features = len(vector) - 2
    inverse_squares = np.exp(-2.0 * vector[:features])
    scale, noise = math.exp(vector[features]), math.exp(vector[features + 1])
    distance = _ROOT5 * np.sqrt(squares @ inverse_squares)
    fading = scale * np.exp(-distance)
    signal = fading * (1.0 + distance + distance * distance / 3.0)
    gram = signal.copy()
    gram[np.diag_indices_from(gram)] += noise + JITTER
    try:
        factor = cholesky(gram, lower=True, check_finite=False)
    except np.linalg.LinAlgError:
        return 1e10, np.zeros_like(vector)
    weights = cho_solve((factor, True), y, check_finite=False)
    inverse = cho_solve((factor, True), np.eye(len(y)), check_finite=False)
    value = 0.5 * float(y @ weights) + float(np.log(np.diag(factor)).sum())
    slope = 0.5 * (inverse - np.outer(weights, weights))  # the derivative of the value by the Gram matrix's entries
    by_length = slope * fading * (1.0 + distance) * (5.0 / 3.0)
    gradient = np.empty_like(vector)
    gradient[:features] = np.einsum("ij,ijk->k", by_length, squares) * inverse_squares
    gradient[features] = float((slope * signal).sum())
    gradient[features + 1] = noise * float(np.trace(slope))
    means = np.array([LENGTH_PRIOR[0]] * features + [SCALE_PRIOR[0], NOISE_PRIOR[0]])
    widths = np.array([LENGTH_PRIOR[1]] * features + [SCALE_PRIOR[1], NOISE_PRIOR[1]])
    offset = (vector - means) / widths
    return value + 0.5 * float(offset @ offset), np.asarray(gradient + offset / widths)


def _distances(a: Floats, b: Floats) -> Floats:
    squares = (a * a).sum(1)[:, None] + (b * b).sum(1) - 2.0 * (a @ b.T)
    return np.asarray(np.sqrt(np.maximum(squares, 0.0)))
