"""What a study would train, said before it is launched: its rungs, and steps in all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hposlurm.search.estimate import Training
    from hposlurm.spec import StudySpec

_COUNTED = 10_000  # configurations of a space that may end a study by itself


def training_lines(spec: StudySpec) -> Iterator[str]:
    """The rungs and what would be trained; nothing where the study file does not tell where training ends."""
    from hposlurm.search import Problem
    from hposlurm.search.estimate import training

    counts = [n for n in (spec.budget.n_trials, spec.space.cardinality(_COUNTED)) if n is not None]
    n_trials = min(counts, default=None)
    problem = Problem(spec.space, spec.search, spec.objectives, spec.budget.n_trials)
    found = training(problem, n_trials or 0)
    if found is None:
        return
    if len(found.levels) > 1:
        rungs = ", ".join(map(str, found.levels))
        yield f"rungs: {rungs} ({spec.search.name}, reduction_factor {spec.search.reduction_factor})"
    if n_trials is not None or spec.search.in_generations:
        yield _amount(found, n_trials or 0)


def _amount(found: Training, n_trials: int) -> str:
    steps = f"{found.steps:,} step{'' if found.steps == 1 else 's'}"
    line = f"training: {'' if found.surety == 'exactly' else f'{found.surety} '}{steps}"
    line += f", {found.trainings:,.4g} full training{'' if found.trainings == 1 else 's'} of {found.levels[-1]}"
    if len(found.levels) > 1:
        got = ", ".join(f"{count:,} to {level}" for level, count in zip(found.levels, found.counts, strict=True))
        line += f" (of {n_trials:,} trials; {got})"
    return line
