"""New trials: what the sampler suggests, given what trials in rungs have shown so far."""

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
    """New trials' requests. `finished` says why fewer came than were wanted, unless `n_trials` is what kept them."""

    requests: tuple[TrainingRequest, ...] = ()
    finished: str | None = None

    @property
    def is_last(self) -> bool:
        return self.finished is not None


def room(problem: SearchProblem, observations: Sequence[Observation], n: int) -> int:
    """How many of `n` new trials the study may still have."""
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
    """Up to `n` new trials, trained to `to_step` first. `attrs` has one mapping for each, to be kept with it.

    With `levels` the sampler sees every trial's value at one rung, the highest at which enough trials have one.
    """
    left = room(problem, observations, n)
    search = problem.search
    sampler = search.sampler_traits
    prior = problem.prior
    if left and levels and not sampler.is_blind:
        enough = max(search.startup_trials, len(problem.space.parameters) + 2)
        told = at_one_rung([*prior, *observations], levels, enough)
        prior, observations = tuple(told[: len(prior)]), told[len(prior) :]
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
    """A trial that was stopped at a report, for a model that learns from completed ones only and would see no bad one.

    What it had then is worse than its end would have been, and that end was not promising.
    """
    is_pruned = observation.state is TrialState.PRUNED and observation.values is not None
    return replace(observation, state=TrialState.COMPLETE) if is_pruned else observation


def at_one_rung(observations: Sequence[Observation], levels: Sequence[int], enough: int) -> list[Observation]:
    """What a sampler that knows one resource is told: everyone's values at the highest rung with `enough` of them.

    There whoever has a value counts as complete. Whoever has none and still runs is expected there; any other one says
    nothing, but its configuration is not proposed again.
    """
    for level in sorted(levels, reverse=True):
        values = [None if o.state is TrialState.FAIL else value_at(o, level) for o in observations]
        if len(values) - values.count(None) >= enough or level == min(levels):
            return [_told(o, v) for o, v in zip(observations, values, strict=True)]
    return list(observations)


def _told(observation: Observation, values: tuple[float, ...] | None) -> Observation:
    if values is not None:
        return replace(observation, state=TrialState.COMPLETE, values=values)
    if observation.is_open or observation.state is TrialState.FAIL:
        return replace(observation, values=None)
    return replace(observation, state=TrialState.FAIL, values=None)
