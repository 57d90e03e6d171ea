"""Uses Optuna as a function of the history: an Optuna study exists in memory for one call.

Every discrete parameter is an index there, because Optuna looks up choices by equality (so `true` is taken for 1) and
sums float steps with an error. Only this module and the samplers that build on it import Optuna.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, cast

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial
from optuna.trial import TrialState as OptunaState

from hposlurm.search.known import KnownPoint, KnownPoints
from hposlurm.search.points import Point
from hposlurm.search.sampler import ASKS, REJECTIONS
from hposlurm.search.unit import index_of, is_discrete, nth_value
from hposlurm.space import CategoricalParameter, FloatParameter, IntParameter, Parameter, SearchSpace
from hposlurm.trial import Objective, Params, ParamValue

_EPOCH = datetime.fromtimestamp(0)


class SharedTrial(FrozenTrial):
    """A trial that is never changed.

    Optuna copies and checks each trial that it gets, which took most of the time of a suggestion. Here copies share
    their content, and a trial that was built from a snapped point needs no check.
    """

    #: one per constraint, above 0 if it is broken
    violations: dict[str, float]

    def __deepcopy__(self, memo: dict[int, Any]) -> SharedTrial:
        copy = SharedTrial.__new__(SharedTrial)
        copy.__dict__.update(self.__dict__)
        return copy

    def _validate(self) -> None:
        pass

    @property
    def constraints(self) -> dict[str, float]:
        return self.violations


class OptunaStudy:
    """The knowledge of an Optuna sampler at one moment: the added trials, and the points that were asked for since."""

    asks = ASKS
    rejections = REJECTIONS

    @property
    def attrs(self) -> Mapping[str, object]:
        """Attributes to keep with the trial of the point that was asked for last, in addition to the origin."""
        return {}

    def __init__(
        self, space: SearchSpace, objectives: Sequence[Objective], sampler: optuna.samplers.BaseSampler
    ) -> None:
        self._space = space
        self._points = KnownPoints(space)
        self._distributions = {p.name: _distribution(p) for p in space.parameters}
        self._parameters = {p.name: p for p in space.parameters}
        with quiet():
            self._study = optuna.create_study(sampler=sampler, directions=[o.direction.value for o in objectives])

    def add(
        self,
        point: KnownPoint,
        state: OptunaState,
        values: tuple[float, ...] | None = None,
        *,
        report: tuple[int, float] | None = None,
        constraints: tuple[float, ...] = (),
    ) -> None:
        """Adds a trial, which must have a point in this space.

        `report` has the step and the value of a pruned trial's last report, by which Optuna ranks pruned trials. A
        constraint above 0 is broken.
        """
        key = (state, values, report, constraints)
        trial = point.kept.get(key)
        if trial is None:
            trial = point.kept[key] = self._trial(point.point or {}, state, values)
            if report is not None:
                trial.intermediate_values = dict([report])
            trial.violations = {str(i): v for i, v in enumerate(constraints)}
        self._study.add_trial(trial)

    def _trial(self, point: Point, state: OptunaState, values: tuple[float, ...] | None) -> SharedTrial:
        return SharedTrial(
            number=-1,
            state=state,
            value=None,
            datetime_start=_EPOCH,
            datetime_complete=_EPOCH if state.is_finished() else None,
            params={name: _to_optuna(self._parameters[name], value) for name, value in point.items()},
            distributions={name: self._distributions[name] for name in point},
            user_attrs={},
            system_attrs={},
            intermediate_values={},
            trial_id=-1,
            values=values,
        )

    def ask_optuna(self) -> Point:
        """Returns the point that the sampler wants next, snapped into the space; it may be old or not allowed.

        The sampler does not remember it: the caller adds the point with its result.
        """
        trial = self._study.ask()
        point = self._space.filled(lambda p: _from_optuna(p, _suggest(trial, p.name, self._distributions[p.name])))
        # The asked trial also has values of inactive parameters, which a constant liar would learn from
        self._study.tell(trial, state=OptunaState.FAIL)
        return point


class BranchSpace(optuna.samplers.BaseSampler):
    """Lets a sampler infer the search space from one trial of each kind, not from all.

    Two trials with the same parameters give the same search space. A mixin that must come before the sampler.
    """

    _looked_at = 0

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        trials = study._get_trials(deepcopy=False, states=(OptunaState.COMPLETE, OptunaState.PRUNED), use_cache=True)
        kinds: dict[object, FrozenTrial] = self.__dict__.setdefault("_kinds", {})
        for each in trials[self._looked_at :]:
            kinds.setdefault((tuple(each._distributions), each.state), each)
        self._looked_at = len(trials)
        excerpt = cast(Study, _Excerpt(study, list(kinds.values())))
        return super().infer_relative_search_space(excerpt, trial)  # type: ignore[safe-super]


class _Excerpt:
    """A study with some of its trials."""

    def __init__(self, study: Study, trials: list[FrozenTrial]) -> None:
        self._study_id = study._study_id
        self._trials = trials

    def _get_trials(self, states: Container[OptunaState] | None = None, **_: bool) -> list[FrozenTrial]:
        return [trial for trial in self._trials if states is None or trial.state in states]


def study_of(space: SearchSpace, objective: Objective, completed: Sequence[tuple[Params, float]]) -> Study:
    """Returns an Optuna study with these completed trials, for uses without a sampler."""
    study, points = OptunaStudy(space, [objective], optuna.samplers.RandomSampler(seed=0)), KnownPoints(space)
    for params, value in completed:
        study.add(points.of(params), OptunaState.COMPLETE, (value,))
    return study._study


@contextmanager
def quiet() -> Iterator[None]:
    """Suppresses Optuna's log lines and warnings of experimental features, and restores the settings afterwards."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(level, logging.ERROR))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)


def _distribution(parameter: Parameter) -> BaseDistribution:
    if isinstance(parameter, CategoricalParameter):
        return CategoricalDistribution(range(len(parameter.choices)))
    if _is_indexed(parameter):
        return IntDistribution(0, (parameter.size or 1) - 1)
    if isinstance(parameter, IntParameter):
        return IntDistribution(parameter.low, parameter.high, log=parameter.log)
    return FloatDistribution(parameter.low, parameter.high, log=parameter.log)


def _is_indexed(parameter: Parameter) -> bool:
    """True if the parameter's values are indices for Optuna; whole numbers with step 1 are used as they are."""
    return is_discrete(parameter) and not (isinstance(parameter, IntParameter) and parameter.step == 1)


def _suggest(trial: Trial, name: str, distribution: BaseDistribution) -> float:
    if isinstance(distribution, CategoricalDistribution):
        return float(trial.suggest_categorical(name, distribution.choices) or 0)
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(name, distribution.low, distribution.high, log=distribution.log)
    assert isinstance(distribution, FloatDistribution)
    return trial.suggest_float(name, distribution.low, distribution.high, log=distribution.log)


def _to_optuna(parameter: Parameter, value: ParamValue) -> float:
    if _is_indexed(parameter):
        return index_of(parameter, value)
    assert isinstance(value, int | float)
    return value


def _from_optuna(parameter: Parameter, inner: float) -> ParamValue:
    if _is_indexed(parameter):
        return nth_value(parameter, int(inner))
    return parameter.snap(inner) if isinstance(parameter, FloatParameter) else int(inner)
