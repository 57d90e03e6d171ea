"""Computes how large a study may become: its trials, and the jobs that train them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hposlurm.search.population import copies_each, generation_ends

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec

_COUNTED = 10_000  # the largest space that is counted: it may end a study by itself


@dataclass(frozen=True, slots=True)
class Population:
    """The size of a population."""

    members: int
    #: the steps at which its generations end
    ends: tuple[int, ...]
    #: how many trials it has if none fails
    trials: int

    @property
    def jobs(self) -> int:
        """How many jobs train it: one per member and generation, whichever trial the member is then."""
        return self.members * len(self.ends)


def population_of(spec: StudySpec) -> Population | None:
    """Returns the population that pbt trains; None without generations."""
    search = spec.search
    if not search.in_generations:
        return None
    members = search.population_size or 0
    ends = generation_ends(search.perturbation_interval or 1, search.max_resource or 1)
    trials = members + copies_each(search) * (len(ends) - 1)
    return Population(members, ends, trials if spec.budget.n_trials is None else min(trials, spec.budget.n_trials))


def trials_wanted(spec: StudySpec) -> int | None:
    """Returns how many trials the study has at its end if none fails; None if that is unknown."""
    if population := population_of(spec):
        return population.trials
    known = [n for n in (spec.budget.n_trials, spec.space.cardinality(_COUNTED)) if n is not None]
    return min(known, default=None)


def jobs_wanted(spec: StudySpec) -> int | None:
    """Returns how many jobs train those trials if each is tried once; None if that is unknown."""
    population = population_of(spec)
    return population.jobs if population else trials_wanted(spec)
