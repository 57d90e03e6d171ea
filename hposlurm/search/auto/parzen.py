"""The tree-structured Parzen estimator on the unit cube: proposes where good trials are denser than bad ones."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtr, ndtri

from hposlurm.search.auto.encoding import Encoder, Floats

# As in Optuna's TPE. A larger share of good trials and more candidates brought no improvement.
CANDIDATES = 24
GOOD_SHARE = 0.1
MOST_GOOD = 25
RECENT = 25  # trials that count fully
FINEST = 100  # no kernel is narrower than this fraction (1/100) of the range
MOST_BAD = 400  # kernels, drawn from all bad trials, for speed only; not tuned


class Mixture:
    """A mixture with one kernel per row, and one broad kernel.

    A kernel is a product of a truncated normal for each number and a table for each choice; it is uniform in a
    parameter that is inactive in its row.
    """

    def __init__(self, encoder: Encoder, rows: Floats) -> None:
        self._encoder = encoder
        self._rows = rows
        n = len(rows)
        weights = np.append(_weights(n), 1.0)
        self._weights = weights / weights.sum()
        self._centres = np.vstack([np.where(np.isnan(rows), 0.5, rows), np.full((1, encoder.size), 0.5)])
        self._widths = np.vstack([self._spread(n), np.ones((1, encoder.size))])

    def draw(self, rng: np.random.Generator, n: int) -> Floats:
        """Returns rows of `n` points."""
        chosen = rng.choice(len(self._weights), size=n, p=self._weights)
        result = np.empty((n, self._encoder.size))
        for j, axis in enumerate(self._encoder.axes):
            if axis.is_choice:
                own = np.append(self._rows[:, j], np.nan)[chosen]
                keep = ~np.isnan(own) & (rng.random(n) < 1 / (1 + axis.choices * self._share))
                result[:, j] = np.where(keep, own, rng.integers(axis.choices, size=n))
                continue
            centre, width = self._centres[chosen, j], self._widths[chosen, j]
            low, high = ndtr(-centre / width), ndtr((1 - centre) / width)
            result[:, j] = centre + width * _quantile(low + (high - low) * rng.random(n))
        return self._encoder.snapped(
            np.clip(result, 0.0, [max(a.choices - 1, 1) if a.is_choice else 1.0 for a in self._encoder.axes])
        )

    def log_density(self, rows: Floats) -> Floats:
        logs = np.tile(np.log(self._weights), (len(rows), 1))
        for j, axis in enumerate(self._encoder.axes):
            column = rows[:, j][:, None]
            if axis.is_choice:
                own = np.append(self._rows[:, j], np.nan)
                total = 1 + axis.choices * self._share
                table = np.where(own == column, (1 + self._share) / total, self._share / total)
                part = np.log(np.where(np.isnan(own), 1 / axis.choices, table))
            else:
                centre, width = self._centres[:, j], self._widths[:, j]
                mass = ndtr((1 - centre) / width) - ndtr(-centre / width)
                part = -0.5 * ((column - centre) / width) ** 2 - np.log(width * mass * math.sqrt(2 * math.pi))
            logs += np.where(np.isnan(column), 0.0, part)
        peak = logs.max(axis=1)
        return np.asarray(peak + np.log(np.exp(logs - peak[:, None]).sum(axis=1)))

    @property
    def _share(self) -> float:
        return 1 / (len(self._rows) + 1)

    def _spread(self, n: int) -> Floats:
        """Returns the width of each kernel in each number: the larger distance to a neighbour or end of the range."""
        widths = np.ones((n, self._encoder.size))
        for j, axis in enumerate(self._encoder.axes):
            column = self._rows[:, j]
            active = np.flatnonzero(~np.isnan(column))
            if axis.is_choice or not len(active):
                continue
            order = active[np.argsort(column[active], kind="stable")]
            gaps = np.diff(np.concatenate([[0.0], column[order], [1.0]]))
            finest = max(1 / min(FINEST, n + 2), 0.5 / axis.cells if axis.cells else 0.0)
            widths[order, j] = np.clip(np.maximum(gaps[:-1], gaps[1:]), finest, 1.0)
        return widths


def propose(encoder: Encoder, rng: np.random.Generator, rows: Floats, losses: Floats, pending: Floats) -> Floats:
    """Returns rows of candidates, the most promising first.

    `rows` and `losses` are trials of one rung in order of time. `pending` are trials without a value yet: they count as
    bad, so that the next suggestion lies elsewhere.
    """
    order = np.argsort(losses, kind="stable")
    count = min(math.ceil(GOOD_SHARE * len(rows)), MOST_GOOD)
    good, bad = np.sort(order[:count]), np.sort(order[count:])
    if len(bad) > MOST_BAD:
        bad = np.sort(rng.choice(bad, size=MOST_BAD, replace=False))
    liked = Mixture(encoder, rows[good])
    disliked = Mixture(encoder, np.vstack([rows[bad], pending]))
    candidates = liked.draw(rng, CANDIDATES)
    score = liked.log_density(candidates) - disliked.log_density(candidates)
    return candidates[np.argsort(-score, kind="stable")]


def _weights(n: int) -> Floats:
    if n <= RECENT:
        return np.ones(n)
    return np.concatenate([np.linspace(1 / n, 1.0, n - RECENT), np.ones(RECENT)])


def _quantile(probability: Floats) -> Floats:
    return np.asarray(ndtri(np.clip(probability, 1e-12, 1 - 1e-12)))
