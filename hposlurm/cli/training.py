"""What a study would train, said before it is launched: its rungs or generations, and steps in all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hposlurm.report.numbers import counted

if TYPE_CHECKING:
    from hposlurm.decisions import Population
    from hposlurm.search.estimate import Training
    from hposlurm.spec import StudySpec


def training_lines(spec: StudySpec) -> Iterator[str]:
    """The rungs or the population, and what would be trained; nothing if the end of a training is not known."""
    from hposlurm.decisions import population_of, trials_wanted
    from hposlurm.search import SearchProblem
    from hposlurm.search.estimate import training

    n_trials = trials_wanted(spec)
    problem = SearchProblem(spec.space, spec.search, spec.objectives, spec.budget.n_trials)
    found = training(problem, n_trials or 0)
    if found is None:
        return
    if len(found.levels) > 1:
        rungs = ", ".join(map(str, found.levels))
        yield f"rungs: {rungs} ({spec.search.name}, reduction_factor {spec.search.reduction_factor})"
    if population := population_of(spec):
        yield _herd(population)
    if n_trials is not None:
        yield _amount(found, n_trials or 0)


def _herd(population: Population) -> str:
    ends, copies = ", ".join(map(str, population.ends)), population.trials - population.members
    return (
        f"population: {population.members} members, {counted(len(population.ends), 'generation')} to the steps {ends}: "
        f"{population.jobs} jobs; {population.trials} trials, {copies} of them copies, if none fails"
    )


def _amount(found: Training, n_trials: int) -> str:
    steps = f"{found.steps:,} step{'' if found.steps == 1 else 's'}"
    line = f"training: {'' if found.surety == 'exactly' else f'{found.surety} '}{steps}"
    line += f", {found.trainings:,.4g} full training{'' if found.trainings == 1 else 's'} of {found.levels[-1]}"
    if len(found.levels) > 1:
        got = ", ".join(f"{count:,} to {level}" for level, count in zip(found.levels, found.counts, strict=True))
        line += f" (of {n_trials:,} trials; {got})"
    return line
