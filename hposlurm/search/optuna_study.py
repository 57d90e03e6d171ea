"""Optuna, used as a function of the history: its own study lives in memory for one call.

Every discrete parameter is an index there, because Optuna looks a choice up by equality (so `true` is taken for 1) and
adds float steps up with an error. Only this module and those of the samplers that build on it import Optuna.
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


class ToldTrial(FrozenTrial):
    """A trial that nobody changes. `violations` are its constraints, above 0 where they are broken.

    Optuna copies and checks whatever it is told, which took most of the time of a suggestion: here copies share what
    they hold, and what was built from a snapped point needs no check.
    """

    violations: dict[str, float]

    def __deepcopy__(self, memo: dict[int, Any]) -> ToldTrial:
        twin = ToldTrial.__new__(ToldTrial)
        twin.__dict__.update(self.__dict__)
        return twin

    def _validate(self) -> None:
        pass

    @property
    def constraints(self) -> dict[str, float]:
        return self.violations


class OptunaStudy:
    """What a sampler of Optuna knows at one moment: the told trials, and the points that were asked for since."""

    asks = ASKS
    rejections = REJECTIONS

    @property
    def attrs(self) -> Mapping[str, object]:
        """Returns what is to be kept with the trial of the point that was asked for last, beside the origin."""
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

        `report` is the step and the value of a pruned trial's last one, by which Optuna ranks those; a constraint above
        0 is broken.
        """
        key = (state, values, report, constraints)
        told = point.told.get(key)
        if told is None:
            told = point.told[key] = self._told(point.point or {}, state, values)
            if report is not None:
                told.intermediate_values = dict([report])
            told.violations = {str(i): v for i, v in enumerate(constraints)}
        self._study.add_trial(told)

    def _told(self, point: Point, state: OptunaState, values: tuple[float, ...] | None) -> ToldTrial:
        return ToldTrial(
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
        """Returns the point that the sampler wants next, snapped into the space: maybe an old one, maybe not allowed.

        It leaves no trace with the sampler: what becomes of the point is to be added.
        """
        trial = self._study.ask()
        point = self._space.filled(lambda p: _from_optuna(p, _suggest(trial, p.name, self._distributions[p.name])))
        # The asked trial also remembers values for inactive parameters, which a liar would learn from
        self._study.tell(trial, state=OptunaState.FAIL)
        return point


class BranchSpace(optuna.samplers.BaseSampler):
    """For a sampler that infers the search space from what was told: looks at one trial of each kind, not at all.

    Two trials with the same parameters say the same about it. To be inherited from before the sampler.
    """

    _looked_at = 0

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        told = study._get_trials(deepcopy=False, states=(OptunaState.COMPLETE, OptunaState.PRUNED), use_cache=True)
        kinds: dict[object, FrozenTrial] = self.__dict__.setdefault("_kinds", {})
        for each in told[self._looked_at :]:
            kinds.setdefault((tuple(each._distributions), each.state), each)
        self._looked_at = len(told)
        excerpt = cast(Study, _Excerpt(study, list(kinds.values())))
        return super().infer_relative_search_space(excerpt, trial)  # type: ignore[safe-super]


class _Excerpt:
    """A study with some of its trials."""

    def __init__(self, study: Study, trials: list[FrozenTrial]) -> None:
        self._study_id = study._study_id
        self._trials = trials

    def _get_trials(self, states: Container[OptunaState] | None = None, **_: bool) -> list[FrozenTrial]:
        return [trial for trial in self._trials if states is None or trial.state in states]


def told_study(space: SearchSpace, objective: Objective, completed: Sequence[tuple[Params, float]]) -> Study:
    """Returns a study of Optuna that knows these trials, for what is not asked of a sampler."""
    told, points = OptunaStudy(space, [objective], optuna.samplers.RandomSampler(seed=0)), KnownPoints(space)
    for params, value in completed:
        told.add(points.of(params), OptunaState.COMPLETE, (value,))
    return told._study


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps Optuna's log lines and warnings of experimental features away, and leaves no setting behind."""
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
    """True if Optuna knows the parameter's values by their index; whole numbers without a step are their own."""
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
