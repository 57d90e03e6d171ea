"""Requests new trials: the sampler's suggestions, given the values of trials in rungs so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from hposlurm.search.observation import Observation, SearchProblem, TrainingRequest
from hposlurm.search.rungs import value_at
from hposlurm.search.suggestions import suggest
from hposlurm.trial import TrialState

EXHAUSTED = "the search space is exhausted"


@dataclass(frozen=True, slots=True)
class Fresh:
    """Requests for new trials."""

    requests: tuple[TrainingRequest, ...] = ()
    #: why there are fewer requests than wanted, unless `n_trials` is the reason
    finished: str | None = None

    @property
    def is_last(self) -> bool:
        return self.finished is not None


def room(problem: SearchProblem, observations: Sequence[Observation], n: int) -> int:
    """Returns how many of `n` new trials the study may still have."""
    return max(0, n if problem.n_trials is None else min(n, problem.n_trials - len(observations)))


def fresh(
    problem: SearchProblem,
    observations: Sequence[Observation],
    n: int,
    *,
    to_step: int | None = None,
    is_final: bool = True,
    levels: Sequence[int] = (),
    attrs: Sequence[Mapping[str, object]] = (),
) -> Fresh:
    """Returns requests for up to `n` new trials, trained to `to_step` first. `attrs` has what to keep with each.

    With `levels` the sampler learns every trial's value at one rung: the highest at which enough trials have one.
    """
    left = room(problem, observations, n)
    search = problem.search
    sampler = search.sampler_traits
    prior = problem.prior
    if left and levels and not sampler.is_blind:
        enough = max(search.startup_trials, len(problem.space.parameters) + 2)
        shown = at_one_rung([*prior, *observations], levels, enough)
        prior, observations = tuple(shown[: len(prior)]), shown[len(prior) :]
    elif sampler.completed_only and search.stop_by is not None:
        observations = [_as_complete(o) for o in observations]
    found = suggest(
        problem.space,
        sampler.name,
        problem.objectives,
        observations,
        left,
        search.seed,
        search.startup_trials,
        search.population_size,
        enqueue=search.enqueue,
        prior=prior,
        points=problem.memory.known_points(problem.space),
    )
    kept = [*attrs, *({} for _ in range(left))]
    requests = tuple(
        TrainingRequest(s.params, to_step=to_step, is_final=is_final, attrs={**s.attrs, **own})
        for s, own in zip(found, kept, strict=False)
    )
    return Fresh(requests, EXHAUSTED if len(found) < left else None)


def _as_complete(observation: Observation) -> Observation:
    """Returns a trial that was stopped at a report as a completed one.

    A model that learns only from completed trials would otherwise not see bad ones. The last value is worse than the
    final one would have been, but that one was not promising either.
    """
    is_pruned = observation.state is TrialState.PRUNED and observation.values is not None
    return replace(observation, state=TrialState.COMPLETE) if is_pruned else observation


def at_one_rung(observations: Sequence[Observation], levels: Sequence[int], enough: int) -> list[Observation]:
    """Returns the observations for a sampler without resources: the values at the highest rung with `enough` of them.

    A trial with a value there counts as complete. A trial without one stays open if it still runs; otherwise it counts
    as failed: it teaches nothing, but its configuration is not proposed again.
    """
    for level in sorted(levels, reverse=True):
        values = [None if o.state is TrialState.FAIL else value_at(o, level) for o in observations]
        if len(values) - values.count(None) >= enough or level == min(levels):
            return [_shown(o, v) for o, v in zip(observations, values, strict=True)]
    return list(observations)


def _shown(observation: Observation, values: tuple[float, ...] | None) -> Observation:
    if values is not None:
        return replace(observation, state=TrialState.COMPLETE, values=values)
    if observation.is_open or observation.state is TrialState.FAIL:
        return replace(observation, values=None)
    return replace(observation, state=TrialState.FAIL, values=None)
