"""Estimates what a search will train: how many trials reach each rung, and how many steps that is in total."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from hposlurm.search.halving import BracketShape, shapes_of
from hposlurm.search.observation import SearchProblem
from hposlurm.search.rungs import levels_of


@dataclass(frozen=True, slots=True)
class Training:
    """The trials that reach each rung if none fails."""

    #: the steps of the rungs; the last one is the end of training
    levels: tuple[int, ...]
    #: one per level
    counts: tuple[int, ...]
    #: how exact the counts are: some promotions depend on the order in which trials reach a rung
    surety: Literal["exactly", "about", "at most"]

    @property
    def steps(self) -> int:
        """Steps in total; no step is trained twice."""
        return sum(n * (high - low) for n, (low, high) in zip(self.counts, pairwise((0, *self.levels)), strict=True))

    @property
    def trainings(self) -> float:
        """The same in full trainings of one trial."""
        return self.steps / self.levels[-1]


def training(problem: SearchProblem, n_trials: int) -> Training | None:
    """Returns what a study of `n_trials` would train; None without `max_resource`, the end of training."""
    search, most = problem.search, problem.search.max_resource
    if most is None:
        return None
    pruner = search.pruner_traits
    if search.in_generations:
        return Training((most,), (search.population_size or n_trials,), "exactly")
    if pruner.by_rungs:
        return Training(levels_of(search), _halved(problem, n_trials), "exactly")
    if pruner.rungs == "always":
        return Training(levels_of(search), _thinned(n_trials, search.reduction_factor, len(levels_of(search))), "about")
    if search.has_rungs and len(problem.objectives) == 1:
        from hposlurm.search.auto.recipe import THROUGH_SHARE  # SciPy takes 0.2 s to import

        levels = levels_of(search)
        through = round(THROUGH_SHARE * n_trials)
        rest = _thinned(n_trials - through, search.reduction_factor, len(levels))
        return Training(levels, tuple(through + count for count in rest), "about")
    is_sure = not pruner.at_reports and search.patience is None
    return Training((most,), (n_trials,), "exactly" if is_sure else "at most")


def _thinned(size: int, factor: int, rungs: int) -> tuple[int, ...]:
    """Returns how many of `size` trials reach each rung if one in `factor` is promoted, and at least one."""
    return tuple(max(min(size, 1), size // factor**k) for k in range(rungs))


def _halved(problem: SearchProblem, n_trials: int) -> tuple[int, ...]:
    """Returns how many trials reach each rung if brackets are filled in turn; the last one may be small."""
    found, rungs, factor = shapes_of(problem), len(levels_of(problem.search)), problem.search.reduction_factor
    counts = [0] * rungs
    bracket = 0
    while n_trials > 0:
        shape = found[bracket % len(found)]
        size = min(shape.size, n_trials)
        below = [size] * shape.first  # a trial that starts at a higher rung passes the lower ones
        for k, count in enumerate((*below, *BracketShape(shape.first, size).sizes(rungs, factor))):
            counts[k] += count
        n_trials -= size
        bracket += 1
    return tuple(counts)
