"""TPE by Optuna, for one objective or several."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from operator import attrgetter, itemgetter
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers._tpe.sampler import _split_trials, default_gamma, default_gamma_multiobjective
from optuna.study import Study
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from hposlurm.search.known import KnownPoint
from hposlurm.search.observation import Observation
from hposlurm.search.optuna_study import BranchSpace, OptunaStudy, quiet
from hposlurm.search.points import Point
from hposlurm.space import SearchSpace
from hposlurm.trial import Objective, TrialState

N_EI_CANDIDATES = 24
_TAUGHT = (OptunaState.COMPLETE, OptunaState.PRUNED, OptunaState.RUNNING)


class TpeSampler(OptunaStudy):
    """Proposes by Optuna's TPE."""

    def __init__(self, space: SearchSpace, objectives: Sequence[Objective], seed: int, startup_trials: int) -> None:
        is_conditional = any(p.condition is not None for p in space.parameters)
        super().__init__(space, objectives, tpe_sampler(seed, startup_trials, is_conditional))
        self._is_single = len(objectives) == 1

    def tell(self, lessons: Sequence[tuple[Observation, KnownPoint]]) -> None:
        """Adds trials, each with its point in this space."""
        with quiet():
            for observation, point in lessons:
                self._tell(observation, point)

    def _tell(self, observation: Observation, point: KnownPoint) -> None:
        values, constraints = observation.values, (*point.violations, 0.0)
        if observation.state is TrialState.COMPLETE:
            self.add(point, OptunaState.COMPLETE, values, constraints=constraints)
        elif observation.state is TrialState.PRUNED:
            # Optuna ranks pruned trials by their last step, then by their last value, and only for one objective
            step = observation.curve[-1][0] if observation.curve else 0
            report = (step, values[0]) if values is not None and self._is_single else None
            self.add(point, OptunaState.PRUNED, report=report, constraints=constraints)
        elif observation.infeasible:  # as `refuse` does with a point that breaks a constraint
            self.add(point, OptunaState.PRUNED, constraints=(*point.violations, 1.0))
        elif observation.state is TrialState.FAIL:
            self.add(point, OptunaState.FAIL)
        else:
            self.add(point, OptunaState.RUNNING)

    def ask(self) -> Point:
        """Returns the point that TPE wants next."""
        with quiet():
            return self.ask_optuna()

    def expect(self, point: Point) -> None:
        """Counts `point` as running, so that the next answers lie elsewhere."""
        with quiet():
            self.add(self._points.of(point), OptunaState.RUNNING)

    def refuse(self, point: Point) -> None:
        """Counts an old point as running, and one that is not allowed as a trial that violated its constraints.

        The second has no value: so Optuna learns where nothing is allowed.
        """
        known = self._points.of(point)
        if all(v <= 0 for v in known.violations):
            self.expect(point)
            return
        with quiet():
            self.add(known, OptunaState.PRUNED, constraints=(*known.violations, 0.0))


def tpe_sampler(seed: int, startup_trials: int, is_conditional: bool) -> optuna.samplers.TPESampler:
    """Returns Optuna's TPE with every flag set that is not deprecated.

    Their defaults changed between Optuna 4 and 5. The deprecated flags become constants with their present values.
    `group` is experimental and slower; only a space with conditional parameters needs it.
    """
    with quiet():
        return QuickTpeSampler(
            n_startup_trials=startup_trials,
            n_ei_candidates=N_EI_CANDIDATES,
            seed=seed,
            multivariate=True,
            group=is_conditional,
            constant_liar=True,
        )


class QuickTpeSampler(BranchSpace, optuna.samplers.TPESampler):
    """Optuna's TPE with the same answers in a fraction of the time.

    For each point Optuna splits the trials into good and bad ones again, and reads all their values. Here that is done
    once, and again only after a trial with a value was added.
    """

    _good: list[FrozenTrial]
    _bad: list[FrozenTrial]
    _models: dict[tuple[str, ...], Any]
    _looked_until = -1

    def _sample(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        self._split(study, trial)
        names = tuple(search_space)
        if names not in self._models:
            self._models[names] = self._build_parzen_estimator(study, search_space, self._good, handle_below=True)
        good = self._models[names]
        bad = self._build_parzen_estimator(study, search_space, self._bad, handle_below=False)
        samples = good.sample(self._rng.rng, self._n_ei_candidates)
        best = self._compare(samples, self._compute_acquisition_func(samples, good, bad))
        return {name: distribution.to_external_repr(best[name]) for name, distribution in search_space.items()}

    def _split(self, study: Study, asking: FrozenTrial) -> None:
        trials = study._get_trials(deepcopy=False, states=_TAUGHT, use_cache=False)
        new = [t for t in trials[_position(trials, self._looked_until) :] if t.number != asking.number]
        if self._looked_until < 0 or any(t.state is not OptunaState.RUNNING for t in new):
            old = [t for t in trials if t.number != asking.number]
            gamma = default_gamma if len(study.directions) <= 1 else default_gamma_multiobjective
            n_good = gamma(sum(t.state is not OptunaState.RUNNING for t in old))
            self._good, self._bad = _split_trials(study, old, n_good)
            self._models = {}
        else:
            self._bad.extend(new)
        self._looked_until = asking.number

    def _get_internal_repr(
        self,
        trials: list[FrozenTrial],
        search_space: dict[str, BaseDistribution],
        study: Study,  # noqa: ARG002
    ) -> dict[str, Any]:
        pick = itemgetter(*search_space) if len(search_space) > 1 else _only(*search_space)
        rows = []
        for trial in trials:
            with suppress(KeyError):  # a trial of another branch
                rows.append(pick(trial._params))
        table = np.asarray(rows, dtype=float).reshape(len(rows), len(search_space))
        return {name: table[:, i] for i, name in enumerate(search_space)}


def _position(trials: Sequence[FrozenTrial], number: int) -> int:
    return bisect_right(trials, number, key=attrgetter("number"))


def _only(name: str) -> Callable[[Mapping[str, float]], tuple[float]]:
    return lambda params: (params[name],)
