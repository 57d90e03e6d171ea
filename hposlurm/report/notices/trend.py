"""The trend of results along one parameter: a quadratic surface, fitted to the ranks of the results."""

from __future__ import annotations

from collections.abc import Sequence

# Trials per coefficient below which a fit says nothing
_TRIALS_PER_COEFFICIENT = 2


def slope_at(place: float, own: Sequence[float], others: Sequence[Sequence[float]]) -> float | None:
    """Returns the slope of the results along one parameter at `place`, in standard errors; None if it is not known.

    The trials are in the order of their results, best first: positive means that results get worse with a higher
    place. `own` and each of `others` are the trials' places in [0, 1]. Ranks instead of values, because a few diverged
    trials would otherwise decide (Conover and Iman 1981, rank transformation). Ordinary least squares with a linear and
    a quadratic term for each parameter.
    """
    columns = [own, *others]
    count, terms = len(own), 1 + 2 * len(columns)
    if count < _TRIALS_PER_COEFFICIENT * terms:
        columns, terms = [own], 3
        if count < _TRIALS_PER_COEFFICIENT * terms:
            return None
    import numpy as np

    ranks = np.arange(count) / (count - 1)
    design = np.column_stack([np.ones(count), *(np.asarray(c) ** power for c in columns for power in (1, 2))])
    fit, _, rank, _ = np.linalg.lstsq(design, ranks, rcond=None)
    if rank < terms:
        return None
    errors = ranks - design @ fit
    variance = float(errors @ errors) / (count - terms)
    direction = np.zeros(terms)
    direction[1], direction[2] = 1.0, 2.0 * place
    spread = variance * float(direction @ np.linalg.inv(design.T @ design) @ direction)
    return float(direction @ fit) / spread**0.5 if spread > 0 else None
