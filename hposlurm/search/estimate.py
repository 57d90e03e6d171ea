"""What a search would train, before it does: how many trials get to each rung, and how many steps that makes in all."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from hposlurm.search.halving import BracketShape, shapes_of
from hposlurm.search.observation import SearchProblem
from hposlurm.search.rungs import levels_of


@dataclass(frozen=True, slots=True)
class Training:
    """`counts` trials get to each of `levels`, the last of which is the end of training, if none fails.

    `surety` says how the numbers are meant: who goes on depends on the order in which trials get to a rung.
    """

    levels: tuple[int, ...]
    counts: tuple[int, ...]
    surety: Literal["exactly", "about", "at most"]

    @property
    def steps(self) -> int:
        """Steps in all; one that was trained is not trained again."""
        return sum(n * (high - low) for n, (low, high) in zip(self.counts, pairwise((0, *self.levels)), strict=True))

    @property
    def trainings(self) -> float:
        """The same in whole trainings of one trial."""
        return self.steps / self.levels[-1]


def training(problem: SearchProblem, n_trials: int) -> Training | None:
    """What a study of so many trials would train; None without `max_resource`, which tells where training ends."""
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
    """From each rung one in `factor` goes on, and one at least."""
    return tuple(max(min(size, 1), size // factor**k) for k in range(rungs))


def _halved(problem: SearchProblem, n_trials: int) -> tuple[int, ...]:
    """Brackets are filled one after the other; the last one may be small."""
    found, rungs, factor = shapes_of(problem), len(levels_of(problem.search)), problem.search.reduction_factor
    counts = [0] * rungs
    bracket = 0
    while n_trials > 0:
        shape = found[bracket % len(found)]
        size = min(shape.size, n_trials)
        behind = [size] * shape.first  # who starts at a higher rung comes past the lower ones
        for k, count in enumerate((*behind, *BracketShape(shape.first, size).sizes(rungs, factor))):
            counts[k] += count
        n_trials -= size
        bracket += 1
    return tuple(counts)
