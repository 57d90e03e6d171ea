"""The search's one entry: what is to be done next, as a pure function of what is known."""

from __future__ import annotations

from collections.abc import Sequence

from hposlurm.search.observation import Answer, Job, Observation, Problem
from hposlurm.search.suggestions import suggest


def next_jobs(problem: Problem, observations: Sequence[Observation], n: int) -> Answer:
    """Up to `n` jobs; the same arguments give the same answer in every process. Raises RequestError, SpaceError.

    `observations` are in the order of the trials' numbers. None of a trial's open assignments is repeated here.
    """
    if problem.search.pair[0] == "auto":
        from hposlurm.search import auto  # scipy takes 0.2 s to import

        return auto.next_jobs(problem, observations, n)
    left = n if problem.n_trials is None else min(n, problem.n_trials - len(observations))
    search = problem.search
    found = suggest(
        problem.space,
        search.pair[0],
        problem.objectives,
        observations,
        left,
        search.seed,
        search.startup_trials,
        search.population_size,
    )
    jobs = tuple(Job(suggestion.params, attrs=suggestion.attrs) for suggestion in found)
    return Answer(jobs, finished="the search space is exhausted" if len(found) < left else None)
