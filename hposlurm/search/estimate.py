"""Estimates what a search will train: how many trials reach each rung, and how many steps that is in total."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from hposlurm.search.halving import BracketShape, shapes_of
from hposlurm.search.observation import SearchProblem
from hposlurm.search.rungs import levels_of

SAVING = 2 / 3  # less is hardly worth checkpoints and doubts


@dataclass(frozen=True, slots=True)
class Training:
    """The trials that reach each rung if none fails."""

    #: the steps of the rungs; the last one is the end of training
    levels: tuple[int, ...]
    #: one per level
    counts: tuple[int, ...]
    #: how exact the counts are: some promotions depend on the order in which trials reach a rung
    surety: Literal["exactly", "about", "at most"]
    #: the steps if stopping turns out not to pay, so that every trial is trained to its end; None if that cannot be
    most_steps: int | None = None

    @property
    def steps(self) -> int:
        """Steps in total; no step is trained twice."""
        return sum(n * (high - low) for n, (low, high) in zip(self.counts, pairwise((0, *self.levels)), strict=True))

    @property
    def trainings(self) -> float:
        """The same in full trainings of one trial."""
        return self.steps / self.levels[-1]


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
    if pruner.rungs == "always":
        return Training(levels_of(search), _thinned(n_trials, search.reduction_factor, len(levels_of(search))), "about")
    if search.has_rungs and len(problem.objectives) == 1:
        from hposlurm.search.auto.recipe import through_at_least  # SciPy takes 0.2 s to import

        levels = levels_of(search)
        through = through_at_least(n_trials, at_once)
        rest = _thinned(n_trials - through, search.reduction_factor, len(levels))
        return Training(levels, tuple(through + count for count in rest), "about", n_trials * most)
    is_sure = not pruner.at_reports and search.patience is None
    return Training((most,), (n_trials,), "exactly" if is_sure else "at most")


def saves_from(problem: SearchProblem, at_once: int = 1) -> int | None:
    """Returns from how many trials on stopping can save a third of the steps; None if it never can."""
    counts = (count for scale in (1, 10, 100) for count in range(scale, 10 * scale, max(1, scale // 10)))
    for count in counts:
        found = training(problem, count, at_once)
        if found and found.trainings <= count * SAVING:
            return count
    return None


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
