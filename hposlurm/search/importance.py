"""Measures how much each parameter matters to an objective, by Optuna's own evaluators."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from random import Random

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.importance import BaseImportanceEvaluator, FanovaImportanceEvaluator, PedAnovaImportanceEvaluator
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from hposlurm.search.optuna_study import SharedTrial, quiet
from hposlurm.search.unit import index_of
from hposlurm.space import CategoricalParameter, FloatParameter, Parameter, SearchSpace
from hposlurm.trial import Direction, Objective, Params

#: With fewer completed trials there is nothing to measure.
LEAST_TRIALS = 4
# Optuna's documentation wants five trials in the best tenth, on which PED-ANOVA is built
_ENOUGH_FOR_PED = 50
# A forest of fully grown trees on fewer trials per parameter fits noise. A rule of thumb, not tuned
_ENOUGH_PER_PARAMETER = 10
# fANOVA walks its 64 trees in Python: 2 s with 150 trials, 60 s with 1,000 (Optuna 5.0)
MOST_IN_FOREST = 150
_SEED = 0
# A parameter without effect is above the largest of nine by chance once in ten times
_SHUFFLES = 9
# With more, chance alone hardly makes a share; and each shuffle takes the time of the whole evaluation
_MOST_SHUFFLED = 300


@dataclass(frozen=True, slots=True)
class Importance:
    """The share of each parameter, in descending order; the shares add up to 1."""

    #: the objective's name; "" for all of several objectives together: who reaches the Pareto front
    objective: str
    #: "fANOVA" or "PED-ANOVA"
    method: str
    shares: Mapping[str, float]
    #: how many completed trials it is computed from
    trials: int
    #: how many would be enough to trust it
    enough: int
    #: parameters that the method cannot judge, because they are not always active
    left_out: tuple[str, ...]
    #: of each share, the largest that the parameter reached with its values shuffled: up to it there is no sign of an
    #: effect; {} where it was not measured
    floors: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_doubtful(self) -> bool:
        """True if there are too few trials to trust it."""
        return self.trials < self.enough


def importances(
    space: SearchSpace, objectives: Sequence[Objective], completed: Sequence[tuple[Params, tuple[float, ...]]]
) -> tuple[Importance, ...]:
    """Returns what Optuna says of the completed trials inside of the space; () if they are too few.

    fANOVA needs scikit-learn and is left out without it; of very many trials it sees evenly spread ones.
    """
    inside = [(params, values) for params, values in completed if space.contains(params)]
    if len(inside) < LEAST_TRIALS:
        return ()
    return tuple(_all(space, objectives, inside))


def has_fanova() -> bool:
    """True if scikit-learn, which Optuna's fANOVA needs, can be imported."""
    return find_spec("sklearn") is not None


def _all(
    space: SearchSpace, objectives: Sequence[Objective], completed: Sequence[tuple[Params, tuple[float, ...]]]
) -> Iterator[Importance]:
    names = [p.name for p in space.parameters if any(p.name in params for params, _ in completed)]
    always = [name for name in names if all(name in params for params, _ in completed)]
    sometimes = tuple(name for name in names if name not in always)
    some = completed[:: -(-len(completed) // MOST_IN_FOREST)]
    study, excerpt = _study(space, objectives, completed), _study(space, objectives, some)
    if len(objectives) > 1:
        shares = _shares(study, PedAnovaImportanceEvaluator(), names, None)
        floors = _floors(space, objectives, completed, names, None)
        yield Importance("", "PED-ANOVA", shares, len(completed), _ENOUGH_FOR_PED, sometimes, floors)
    for index, objective in enumerate(objectives):
        if has_fanova() and always:
            shares = _shares(excerpt, FanovaImportanceEvaluator(seed=_SEED), always, _value(index))
            enough = _ENOUGH_PER_PARAMETER * len(always)
            yield Importance(objective.metric, "fANOVA", shares, len(some), enough, sometimes)
        target = None if len(objectives) == 1 else _value(index, -1 if _is_maximized(objective) else 1)
        shares = _shares(study, PedAnovaImportanceEvaluator(), names, target)
        floors = _floors(space, objectives, completed, names, target)
        yield Importance(objective.metric, "PED-ANOVA", shares, len(completed), _ENOUGH_FOR_PED, sometimes, floors)


def _floors(
    space: SearchSpace,
    objectives: Sequence[Objective],
    completed: Sequence[tuple[Params, tuple[float, ...]]],
    names: list[str],
    target: Callable[[FrozenTrial], float] | None,
) -> dict[str, float]:
    """Returns the largest PED-ANOVA share that each parameter has with its own values shuffled."""
    if len(completed) > _MOST_SHUFFLED:
        return {}
    found = {}
    for name in names:
        draw = Random(_SEED)
        shuffles = [_study(space, objectives, _shuffled(completed, name, draw)) for _ in range(_SHUFFLES)]
        found[name] = max(_shares(study, PedAnovaImportanceEvaluator(), names, target)[name] for study in shuffles)
    return found


def _shuffled(
    completed: Sequence[tuple[Params, tuple[float, ...]]], name: str, draw: Random
) -> list[tuple[Params, tuple[float, ...]]]:
    """Returns the trials with the values of one parameter in another order among those that have it."""
    values = [params[name] for params, _ in completed if name in params]
    draw.shuffle(values)
    rest = iter(values)
    return [({**params, name: next(rest)} if name in params else params, own) for params, own in completed]


def _is_maximized(objective: Objective) -> bool:
    return objective.direction is Direction.MAXIMIZE


def _value(index: int, sign: int = 1) -> Callable[[FrozenTrial], float]:
    return lambda trial: sign * float(trial.values[index])


def _shares(
    study: optuna.Study,
    evaluator: BaseImportanceEvaluator,
    names: list[str],
    target: Callable[[FrozenTrial], float] | None,
) -> dict[str, float]:
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the page says itself when trials are too few
        return optuna.importance.get_param_importances(study, evaluator=evaluator, params=names, target=target)


def _study(
    space: SearchSpace, objectives: Sequence[Objective], completed: Sequence[tuple[Params, tuple[float, ...]]]
) -> optuna.Study:
    """Returns an Optuna study with these trials, as a person would have declared it; choices are indices."""
    distributions = {p.name: _distribution(p) for p in space.parameters}
    parameters = {p.name: p for p in space.parameters}
    with quiet():
        study = optuna.create_study(directions=[o.direction.value for o in objectives])
    for params, values in completed:
        inner = {name: _inner(parameters[name], value) for name, value in params.items()}
        study.add_trial(_trial(inner, {name: distributions[name] for name in inner}, values))
    return study


def _trial(
    params: Mapping[str, object], distributions: dict[str, BaseDistribution], values: tuple[float, ...]
) -> SharedTrial:
    known = optuna.trial.create_trial(values=list(values), state=OptunaState.COMPLETE)
    trial = SharedTrial.__new__(SharedTrial)
    trial.__dict__.update(known.__dict__)
    trial.params, trial.distributions, trial.violations = dict(params), distributions, {}
    return trial


def _distribution(parameter: Parameter) -> BaseDistribution:
    if isinstance(parameter, CategoricalParameter):
        return CategoricalDistribution(range(len(parameter.choices)))
    if isinstance(parameter, FloatParameter):
        return FloatDistribution(parameter.low, parameter.high, log=parameter.log, step=parameter.step)
    return IntDistribution(parameter.low, parameter.high, log=parameter.log, step=parameter.step)


def _inner(parameter: Parameter, value: object) -> object:
    return index_of(parameter, value) if isinstance(parameter, CategoricalParameter) else value  # type: ignore[arg-type]
