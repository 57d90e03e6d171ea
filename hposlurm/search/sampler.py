"""TPE by Optuna, used as a function of the history. The only module that imports Optuna.

Optuna's own study lives in memory for one call. Every discrete parameter is an index there, because Optuna looks a
choice up by equality (so `true` is taken for 1) and adds float steps up with an error.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, Trial, create_trial
from optuna.trial import TrialState as OptunaState

from hposlurm.search.observation import Observation
from hposlurm.search.points import Point, choice_index
from hposlurm.space import CategoricalParameter, FloatParameter, IntParameter, Parameter, SearchSpace
from hposlurm.trial import Objective, ParamValue, TrialState

N_EI_CANDIDATES = 24


class TpeStudy:
    """What TPE knows at one moment: the told trials, and the points that were asked for since."""

    def __init__(self, space: SearchSpace, objectives: Sequence[Objective], seed: int, startup_trials: int) -> None:
        self._space = space
        self._distributions = {p.name: _distribution(p) for p in space.parameters}
        self._is_single = len(objectives) == 1
        with _quiet():
            self._study = optuna.create_study(
                sampler=tpe_sampler(seed, startup_trials, any(p.condition is not None for p in space.parameters)),
                directions=[o.direction.value for o in objectives],
            )

    def tell(self, lessons: Sequence[tuple[Observation, Point]]) -> None:
        """Adds trials, each with its point in this space."""
        with _quiet():
            self._study.add_trials([self._lesson(observation, point) for observation, point in lessons])

    def ask(self) -> Point:
        """Returns the point that TPE wants next, snapped into the space: maybe an old one, maybe not allowed.

        From now on an allowed point counts as running, so that the next answer lies elsewhere; one that is not allowed
        as a trial that ended without a value and violated its constraints, which is how Optuna learns of them.
        """
        with _quiet():
            trial = self._study.ask()
            point = self._define_by_run(trial)
            # The asked trial also remembers values for inactive parameters, which the liar would learn from
            self._study.tell(trial, state=OptunaState.FAIL)
        self._add(point, OptunaState.RUNNING if self._space.is_feasible(point) else OptunaState.PRUNED)
        return point

    def expect(self, point: Point) -> None:
        """Adds a point that will run without having been asked for."""
        self._add(point, OptunaState.RUNNING)

    def _add(self, point: Point, state: OptunaState) -> None:
        with _quiet():
            self._study.add_trial(self._frozen(point, state))

    def _define_by_run(self, trial: Trial) -> Point:
        point: Point = {}
        for parameter in self._space.parameters:
            if self._space.is_active(parameter, point):
                inner = _suggest(trial, parameter.name, self._distributions[parameter.name])
                point[parameter.name] = _from_optuna(parameter, inner)
        return point

    def _lesson(self, observation: Observation, point: Point) -> FrozenTrial:
        if observation.state is TrialState.COMPLETE:
            return self._frozen(point, OptunaState.COMPLETE, values=observation.values)
        if observation.state is TrialState.PRUNED:
            return self._frozen(point, OptunaState.PRUNED, last=observation.values)
        if observation.infeasible:  # as `ask` does with a point that breaks a constraint
            return self._frozen(point, OptunaState.PRUNED, violation=1.0)
        if observation.state is TrialState.FAIL:
            return self._frozen(point, OptunaState.FAIL)
        return self._frozen(point, OptunaState.RUNNING)

    def _frozen(
        self,
        point: Point,
        state: OptunaState,
        values: Sequence[float] | None = None,
        last: Sequence[float] | None = None,
        violation: float = 0.0,
    ) -> FrozenTrial:
        by_name = {p.name: p for p in self._space.parameters}
        # Optuna ranks pruned trials by their last report, and can do so for one objective only
        reports = {0: last[0]} if last is not None and self._is_single else None
        return create_trial(
            state=state,
            values=values,
            params={name: _to_optuna(by_name[name], value) for name, value in point.items()},
            distributions={name: self._distributions[name] for name in point},
            intermediate_values=reports,
            constraints={str(i): v for i, v in enumerate((*self._space.violations(point), violation))},
        )


def tpe_sampler(seed: int, startup_trials: int, is_conditional: bool) -> optuna.samplers.TPESampler:
    """Returns Optuna's TPE with every flag set that is not deprecated.

    Defaults of these changed between 4 and 5. The deprecated ones turn into constants, the values that they have now.
    `group` is experimental and slower; only a space in which parameters come and go needs it.
    """
    with _quiet():
        return optuna.samplers.TPESampler(
            n_startup_trials=startup_trials,
            n_ei_candidates=N_EI_CANDIDATES,
            seed=seed,
            multivariate=True,
            group=is_conditional,
            constant_liar=True,
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Optuna's log lines and warnings of experimental features away, and leaves no setting behind."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(level, logging.WARNING))
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


def _is_indexed(parameter: FloatParameter | IntParameter) -> bool:
    if isinstance(parameter, IntParameter):
        return parameter.step != 1
    return parameter.step is not None


def _suggest(trial: Trial, name: str, distribution: BaseDistribution) -> float:
    if isinstance(distribution, CategoricalDistribution):
        return float(trial.suggest_categorical(name, distribution.choices) or 0)
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(name, distribution.low, distribution.high, log=distribution.log)
    assert isinstance(distribution, FloatDistribution)
    return trial.suggest_float(name, distribution.low, distribution.high, log=distribution.log)


def _to_optuna(parameter: Parameter, value: ParamValue) -> float:
    if isinstance(parameter, CategoricalParameter):
        return choice_index(parameter, value)
    assert isinstance(value, int | float)
    if not _is_indexed(parameter):
        return value
    return round((value - parameter.low) / (parameter.step or 1))


def _from_optuna(parameter: Parameter, inner: float) -> ParamValue:
    if isinstance(parameter, CategoricalParameter):
        return parameter.choices[int(inner)]
    if isinstance(parameter, IntParameter):
        return int(inner) if not _is_indexed(parameter) else parameter.values()[int(inner)]
    if parameter.step is None:
        return parameter.snap(inner)
    return parameter.snap(parameter.low + inner * parameter.step)
