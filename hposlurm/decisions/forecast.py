"""Estimates what a study will do: its random beginning, what stopping saves, how many waves it still has. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hposlurm.decisions.extent import trials_wanted
from hposlurm.decisions.modes import is_refill, trials_per_wave, waves_in_flight
from hposlurm.decisions.observe import observe
from hposlurm.records.history import History
from hposlurm.search import Observation, SearchProblem, TrainingRequest, derive_seed, next_requests, requests_per_wave
from hposlurm.search.estimate import SAVING, saves_from, training
from hposlurm.search.rungs import levels_of
from hposlurm.spec.algorithms import CHEAPEST
from hposlurm.trial import TrialState

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec
    from hposlurm.spec.search import SearchSpec


@dataclass(frozen=True, slots=True)
class Startup:
    """The random beginning of a search."""

    #: how many trials are random, about; 0 if the search has no such beginning, or enough to learn from already
    random: int = 0
    #: how many trials the study has; None if that is unknown
    trials: int | None = None

    @property
    def is_all(self) -> bool:
        """True if no model ever proposes a trial."""
        return self.trials is not None and 0 < self.trials <= self.random


def startup(spec: StudySpec, wave_size: int, known: int = 0) -> Startup:
    """Returns the random beginning of a study that already learns from `known` trials of other studies.

    A model proposes once enough trials have ended, so the trials that start before that are random, too.
    """
    trials = trials_wanted(spec)
    if not spec.search.sampler_traits.has_startup or known >= spec.search.startup_trials:
        return Startup()
    wanted = spec.search.startup_trials
    if is_refill(spec):
        count = wanted + wave_size - 1
    else:
        size = trials_per_wave(spec, wave_size)
        count = size * (-(-wanted // size) + waves_in_flight(spec, wave_size) - 1)
    return Startup(count if trials is None else min(count, trials), trials)


def forecast_notes(spec: StudySpec, wave_size: int, known: int = 0) -> tuple[str, ...]:
    """Returns notes on a search that cannot do what it is for: with so few trials it only draws at random, or stops
    too few of them to save anything.
    """
    begin, search, found = startup(spec, wave_size, known), spec.search, []
    if begin.is_all:
        found.append(
            f"{search.name} is random search here: it proposes after search.startup_trials ({search.startup_trials}) "
            f"trials have ended, and by then all {begin.trials} have started; raise budget.n_trials, or lower "
            "waves.max_concurrent or search.startup_trials"
        )
    problem = SearchProblem(spec.space, search, spec.objectives, spec.budget.n_trials)
    trials = begin.trials or trials_wanted(spec) or 0
    trained = training(problem, trials, wave_size)
    whole = 0 if trained is None or trained.most_steps is None else trials * trained.levels[-1]
    if trained is not None and whole and trained.expected_steps > SAVING * whole:
        is_auto = trained.decided_by == "prediction"
        found.append(
            f"with so few trials {search.name} can save {'at most' if trained.likely_steps is None else 'about'} "
            f"{1 - trained.expected_steps / whole:.0%} of the training by stopping, since "
            f"{'it lets the first ones through to the end' if is_auto else 'the first at each rung always goes on'}; "
            f"it can save a third from about {saves_from(problem, wave_size)} trials on"
            f"{'. Without search.max_resource every trial is trained to its end' if is_auto else ''}"
        )
    return tuple(found)


def waves_ahead(spec: StudySpec, history: History, wave_size: int, most: int) -> tuple[int, int] | None:
    """Returns how many waves are left, including the present one, and the size of the largest.

    Assumes that no trial is retried, and stops after `most` waves. Returns None if every trial is trained in one go:
    then only trials can be counted.
    """
    problem = SearchProblem(spec.space, _imagined(spec.search), spec.objectives, spec.budget.n_trials)
    if all(request.is_final for request in next_requests(problem, (), 1).requests):
        return None
    known = observe(history, spec.objectives)
    pool = [o.values for o in known if o.values is not None]
    requests: Sequence[TrainingRequest] = [_open_request(history, o) for o in known if o.is_open]
    waves = largest = 0
    while waves < most:
        if not requests:
            rung = requests_per_wave(problem, known) if spec.waves.size is None else None
            answer = next_requests(problem, known, trials_per_wave(spec, wave_size) if rung is None else rung)
            for verdict in answer.verdicts:
                known[verdict.trial] = replace(known[verdict.trial], state=TrialState.PRUNED)
            requests = answer.requests
        if not requests:
            break
        waves, largest = waves + 1, max(largest, len(requests))
        known = _ended(known, requests, pool, len(spec.objectives))
        requests = ()
    return waves, largest


def _imagined(search: SearchSpec) -> SearchSpec:
    sampler, pruner = search.pair
    if search.pruner_traits.played_as and search.has_rungs:
        pruner = search.pruner_traits.played_as
        search = search.model_copy(update={"min_resource": levels_of(search)[0]})
    # the number of promotions does not depend on the sampler
    sampler = sampler if search.sampler_traits.is_cheap else CHEAPEST
    return search.model_copy(update={"algorithm": None, "sampler": sampler, "pruner": pruner})


def _open_request(history: History, observation: Observation) -> TrainingRequest:
    stage = history.trial(observation.number).stages[-1]
    return TrainingRequest(observation.params, observation.number, stage.from_step, stage.to_step, stage.is_final)


def _ended(
    known: Sequence[Observation],
    requests: Sequence[TrainingRequest],
    pool: Sequence[tuple[float, ...]],
    objectives: int,
) -> list[Observation]:
    """Returns the observations after every request reached its step, with values drawn from `pool`.

    A trial has the same values at every step.
    """
    found = list(known)
    for request in requests:
        number = len(found) if request.trial is None else request.trial
        if request.trial is None:
            found.append(Observation(number, request.params, TrialState.WAITING, attrs=request.attrs))
        draw = derive_seed("forecast", number)
        values = pool[draw % len(pool)] if pool else (float(draw),) * objectives
        point = (1 if request.to_step is None else request.to_step, values)
        found[number] = replace(
            found[number],
            state=TrialState.COMPLETE if request.is_final else TrialState.PAUSED,
            values=values,
            curve=(*found[number].curve, point),
            ends=(*found[number].ends, point),
            to_step=request.to_step,
            is_open=False,
        )
    return found
