"""Estimates what a search will train: how many trials reach each rung, and how many steps that is in total."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from hposlurm.search.halving import BracketShape, shapes_of
from hposlurm.search.observation import SearchProblem
from hposlurm.search.rungs import levels_of

SAVING = 2 / 3  # less is hardly worth checkpoints and doubts


@dataclass(frozen=True, slots=True)
class Training:
    """The trials that reach each rung if none fails. Where that depends on the values, the fewest."""

    #: the steps of the rungs; the last one is the end of training
    levels: tuple[int, ...]
    #: one per level
    counts: tuple[int, ...]
    #: how exact the counts are
    surety: Literal["exactly", "at least", "at most"]
    #: the steps if the values are such that most trials go on; None if the counts do not depend on them
    most_steps: int | None = None
    #: the steps if the trials come in no order of their values; None if that is not known
    likely_steps: int | None = None
    #: what decides between the fewest steps and the most: the order of the trials' values, or how well early values
    #: predict late ones
    decided_by: Literal["order", "prediction"] = "order"

    @property
    def steps(self) -> int:
        """Steps in total; no step is trained twice."""
        return _steps(self.levels, self.counts)

    @property
    def trainings(self) -> float:
        """The same in full trainings of one trial."""
        return self.steps / self.levels[-1]

    @property
    def expected_steps(self) -> int:
        """The steps that a study without luck trains, as far as that is known."""
        return self.steps if self.likely_steps is None else self.likely_steps


def training(problem: SearchProblem, n_trials: int, at_once: int = 1) -> Training | None:
    """Returns what a study of `n_trials` would train; None without `max_resource`, the end of training.

    `at_once` is how many trials run at the same time.
    """
    search, most = problem.search, problem.search.max_resource
    if most is None:
        return None
    pruner = search.pruner_traits
    if search.in_generations:
        return Training((most,), (search.population_size or n_trials,), "exactly")
    if pruner.by_rungs:
        return Training(levels_of(search), _halved(problem, n_trials), "exactly")
    levels, factor = levels_of(search) if search.has_rungs else (most,), search.reduction_factor
    if pruner.rungs == "always" and pruner.at_reports:
        likely = _steps(levels, _passed(n_trials, factor, len(levels)))
        fewest = (n_trials, *(min(n_trials, 1) for _ in levels[1:]))
        return Training(levels, fewest, "at least", n_trials * most, likely)
    if pruner.rungs == "always":
        most_steps = _steps(levels, _all_improving(n_trials, factor, len(levels)))
        return Training(levels, _thinned(n_trials, factor, len(levels)), "at least", most_steps)
    if search.has_rungs and len(problem.objectives) == 1:
        from hposlurm.search.auto.recipe import through_at_least  # SciPy takes 0.2 s to import

        through = through_at_least(n_trials, at_once)
        rest = _thinned(n_trials - through, factor, len(levels))
        fewest = tuple(through + count for count in rest)
        return Training(levels, fewest, "at least", n_trials * most, decided_by="prediction")
    is_sure = not pruner.at_reports and search.patience is None
    return Training((most,), (n_trials,), "exactly" if is_sure else "at most")


def saves_from(problem: SearchProblem, at_once: int = 1) -> int | None:
    """Returns from how many trials on stopping can save a third of the steps; None if it never can."""
    counts = (count for scale in (1, 10, 100) for count in range(scale, 10 * scale, max(1, scale // 10)))
    for count in counts:
        found = training(problem, count, at_once)
        if found and found.expected_steps <= count * found.levels[-1] * SAVING:
            return count
    return None


def _steps(levels: Sequence[int], counts: Sequence[int]) -> int:
    return sum(n * (high - low) for n, (low, high) in zip(counts, pairwise((0, *levels)), strict=True))


def _passed(size: int, factor: int, rungs: int) -> tuple[int, ...]:
    """Returns how many of `size` trials reach each rung if they come in no order, and one that is not as good as the
    best 1/factor of those before it stops.

    A trial after k others has each rank among them with the same probability, so it goes on with probability
    (1 + (k - 1) / factor) / (k + 1). The first one always does.
    """
    counts = [size]
    while len(counts) < rungs:
        count = counts[-1]
        onward = ((count - 1) + (factor - 2) * (_harmonic(count) - 1)) / factor
        counts.append(min(count, 1 + round(onward)) if count else 0)
    return tuple(counts)


def _harmonic(count: int) -> float:
    """Returns 1 + 1/2 + … + 1/count to three digits."""
    return math.log(count) + 0.5772 + 1 / (2 * count) if count > 1 else float(count)


def _all_improving(size: int, factor: int, rungs: int) -> tuple[int, ...]:
    """Returns how many of `size` trials reach each rung if each is better than all before it.

    From the one that makes the first promotion possible on, each is among the best 1/factor.
    """
    counts = [size]
    while len(counts) < rungs:
        counts.append(max(min(counts[-1], 1), counts[-1] - factor + 1))
    return tuple(counts)


def _thinned(size: int, factor: int, rungs: int) -> tuple[int, ...]:
    """Returns how many of `size` trials reach each rung if one in `factor` is promoted, and at least one."""
    return tuple(max(min(size, 1), size // factor**k) for k in range(rungs))


def _halved(problem: SearchProblem, n_trials: int) -> tuple[int, ...]:
    """Returns how many trials reach each rung if brackets are filled in turn; the last one may be small."""
    found, rungs, factor = shapes_of(problem), len(levels_of(problem.search)), problem.search.reduction_factor
    rounds, left = divmod(n_trials, sum(shape.size for shape in found))
    counts = [0] * rungs
    for shape in found:
        size = min(shape.size, left)
        left -= size
        for times, members in ((rounds, shape.size), (1, size)):
            below = [members] * shape.first  # a trial that starts at a higher rung passes the lower ones
            in_rungs = (*below, *BracketShape(shape.first, members).sizes(rungs, factor)) if members else ()
            for k, count in enumerate(in_rungs):
                counts[k] += times * count
    return tuple(counts)
