"""Prepares data and candidates for the Gaussian process, and computes the expected improvement."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from hposlurm.search.auto.encoding import Encoder, Floats

# Candidates of a suggestion: half at random, so that no region is ignored, half near the best points. With those of the
# surrogate's rounds there are 500. Their number was not tuned.
UNIFORM = 150
MUTATIONS = 150
# The size of a mutation, in units of a parameter's range. With .02 to .5 and fewer proposals by the process the regret
# on nine LCBench tasks was .131/.039/.014 at 5/12/25 full trainings; now it is .108/.023/.007.
SCALES = (0.01, 0.3)
MUTATED = 0.5  # the share of the parameters that a mutation changes; not tuned
# In standard deviations. Below it the two terms of the improvement cancel to the last digits, so the asymptote of its
# logarithm is used: ndtr(-8) is 6e-16.
FAR = -8.0
# In spreads from the median. A worse loss has no further information, and would flatten all others. Not tuned.
WORST = 20.0
GOOD = 0.1  # the quantile whose distance from the median is the spread: the scale of the good half. Not tuned.

Indices = NDArray[np.int64]


def standardised(losses: Floats) -> Floats:
    """Returns the losses with mean 0 and spread 1; good ones are linear, bad ones compressed, infinite ones worst."""
    finite = losses[np.isfinite(losses)]
    if not len(finite):
        return np.zeros(len(losses))
    middle = float(np.median(finite))
    scale = middle - float(np.quantile(finite, GOOD))
    if scale <= 0:
        scale = float(np.std(finite)) or 1.0
    z = (losses - middle) / scale
    z = np.where(z > 0, np.log1p(np.clip(z, 0.0, WORST)), z)
    return np.asarray((z - z.mean()) / (float(z.std()) or 1.0))


def chosen_data(losses: Floats, rungs: Indices, rng: np.random.Generator, most: int) -> Indices:
    """Returns the indices of (trial, rung, loss) triples to learn from: all, or each rung's best and some others."""
    n = len(losses)
    if n <= most:
        return np.arange(n)
    rank = np.empty(n)
    for k in np.unique(rungs):
        own = np.flatnonzero(rungs == k)
        rank[own[np.argsort(losses[own], kind="stable")]] = np.arange(len(own))
    order = np.lexsort((-rungs, rank))
    best, rest = order[: most // 2], np.sort(order[most // 2 :])
    weights = 1.0 + rungs[rest]
    others = rng.choice(rest, size=most - len(best), replace=False, p=weights / weights.sum())
    return np.sort(np.concatenate([best, others]))


def candidates(encoder: Encoder, rng: np.random.Generator, parents: Floats) -> Floats:
    """Returns rows of points: random ones and mutations of `parents`."""
    return np.vstack([encoder.uniform(rng, UNIFORM), mutations(encoder, rng, parents, MUTATIONS)])


def mutations(encoder: Encoder, rng: np.random.Generator, parents: Floats, n: int) -> Floats:
    """Returns `n` rows near those of `parents`: some parameters are moved by a distance that is drawn for each row.

    They are clipped at the faces of the box, not reflected: many optima lie on a face. With reflection the regret on
    three tasks (5 seeds) was three to six times as high.
    """
    if not encoder.size or not len(parents):
        return np.empty((0, encoder.size))
    rows = parents[rng.integers(len(parents), size=n)]
    scale = np.exp(rng.uniform(math.log(SCALES[0]), math.log(SCALES[1]), size=(n, 1)))
    is_moved = rng.random(rows.shape) < MUTATED
    is_moved[np.arange(n), rng.integers(encoder.size, size=n)] = True
    moved = np.clip(rows + scale * rng.standard_normal(rows.shape), 0.0, 1.0)
    for j, axis in enumerate(encoder.axes):
        if axis.is_choice:
            moved[:, j] = rng.integers(axis.choices, size=n)
    return encoder.snapped(np.where(is_moved, moved, rows))


def log_expected_improvement(mean: Floats, deviation: Floats, best: float) -> Floats:
    """Returns the log of the expected improvement: of how far a loss lies below `best`, counted as 0 if above."""
    u = (best - mean) / deviation
    near = np.maximum(u, FAR)
    inner = near * ndtr(near) + np.exp(-0.5 * near * near) / math.sqrt(2 * math.pi)
    far = np.minimum(u, FAR)
    beyond = -0.5 * far * far - 0.5 * math.log(2 * math.pi) - 2 * np.log(-far)
    return np.asarray(np.log(deviation) + np.where(u > FAR, np.log(np.maximum(inner, 1e-300)), beyond))
