"""Turns the objective values of trials into one score per trial, for comparison. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence

from hposlurm.trial import Direction, Objective

#: Maps several trials' values (one number per objective, as reported) to one score per trial. Less is better.
Score = Callable[[Sequence[tuple[float, ...]]], list[float]]


def scoring(objectives: Sequence[Objective], compare_by: str = "first") -> Score:
    """Returns the function that scores several trials' values at a rung.

    "first" uses only the first objective, "weighted" the weighted sum of all. "domination" uses the number of the
    trial's non-dominated layer (0: no trial dominates it), and within a layer the first objective.
    """
    signs = [-1.0 if o.direction is Direction.MAXIMIZE else 1.0 for o in objectives]
    if compare_by == "weighted":
        factors = [sign * o.weight for sign, o in zip(signs, objectives, strict=True)]
        return lambda values: [sum(f * v for f, v in zip(factors, point, strict=True)) for point in values]
    if compare_by == "domination" and len(objectives) > 1:
        return lambda values: _by_layers([_signed(signs, point) for point in values])
    return lambda values: [signs[0] * point[0] for point in values]


def _signed(signs: Sequence[float], point: Sequence[float]) -> tuple[float, ...]:
    return tuple(sign * value for sign, value in zip(signs, point, strict=True))


def _by_layers(points: Sequence[tuple[float, ...]]) -> list[float]:
    """Returns each point's layer plus a fraction below 1, which grows with the point's lexicographic rank."""
    order = sorted(range(len(points)), key=points.__getitem__)
    layers = _layers([points[i] for i in order])
    place = {point: i for i, point in enumerate(sorted(set(points)))}
    scores = [0.0] * len(points)
    for index, layer in zip(order, layers, strict=True):
        scores[index] = layer + place[points[index]] / (len(place) + 1)
    return scores


def _layers(points: Sequence[tuple[float, ...]]) -> list[int]:
    """Returns the number of each point's non-dominated layer, from 0. `points` are sorted lexicographically."""
    if points and len(points[0]) == 2:
        return _layers_of_pairs(points)
    fronts: list[list[tuple[float, ...]]] = []
    found = []
    for point in points:  # only an earlier point can dominate a later one
        layer = next((k for k, front in enumerate(fronts) if not _is_dominated(point, front)), len(fronts))
        if layer == len(fronts):
            fronts.append([])
        fronts[layer].append(point)
        found.append(layer)
    return found


def _layers_of_pairs(points: Sequence[tuple[float, ...]]) -> list[int]:
    """Returns the layers for two objectives, in n log n: a layer's smallest second objective is all that matters."""
    smallest: list[float] = []  # second objective in each layer, ascending
    found: list[int] = []
    for index, point in enumerate(points):
        if index and point == points[index - 1]:
            found.append(found[-1])  # equal points do not dominate each other
            continue
        layer = bisect_right(smallest, point[1])
        smallest[layer : layer + 1] = [point[1]]
        found.append(layer)
    return found


def _is_dominated(point: tuple[float, ...], front: Sequence[tuple[float, ...]]) -> bool:
    return any(other != point and all(a <= b for a, b in zip(other, point, strict=True)) for other in reversed(front))
