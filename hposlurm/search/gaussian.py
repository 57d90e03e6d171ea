"""Bayesian optimisation with a Gaussian process, by Optuna. The only search that needs PyTorch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import optuna
from optuna.trial import TrialState as OptunaState

from hposlurm.search.known import KnownPoint
from hposlurm.search.observation import Observation
from hposlurm.search.optuna_study import BranchSpace, OptunaStudy, quiet
from hposlurm.search.points import Point
from hposlurm.space import SearchSpace
from hposlurm.trial import Objective, TrialState

_HOLDS, _BROKEN = (-1.0,), (1.0,)


class QuickGpSampler(BranchSpace, optuna.samplers.GPSampler):
    pass


class GpSampler(OptunaStudy):
    """Proposes by Optuna's Gaussian process.

    It learns nothing from pruned and failed trials. If configurations are forbidden, or some exceeded the memory, a
    second process learns where those are.
    """

    asks = 8  # each takes a tenth of a second and more
    rejections = 40

    def __init__(self, space: SearchSpace, objectives: Sequence[Objective], seed: int, startup_trials: int) -> None:
        super().__init__(space, objectives, gp_sampler(seed, startup_trials))
        self._is_constrained = bool(space.constraints or space.limits.expressions)
        self._usual: tuple[float, ...] = ()

    def tell(self, lessons: Sequence[tuple[Observation, KnownPoint]]) -> None:
        """Adds trials, each with its point in this space."""
        complete = [(o.values, p) for o, p in lessons if o.state is TrialState.COMPLETE and o.values is not None]
        self._is_constrained = self._is_constrained or any(o.infeasible for o, _ in lessons)
        columns = list(zip(*(values for values, _ in complete), strict=True))
        self._usual = tuple(sum(column) / len(column) for column in columns)
        with quiet():
            for values, point in complete:
                is_allowed = all(v <= 0 for v in point.violations)
                self.add(point, OptunaState.COMPLETE, values, constraints=self._constraints(is_allowed))
            for observation, point in lessons:
                if observation.infeasible:
                    self._add_broken(point)
                elif not observation.state.is_finished:
                    self.add(point, OptunaState.RUNNING)

    def ask(self) -> Point:
        """Returns the most promising point, given those that run."""
        with quiet(), _one_thread():
            return self.ask_optuna()

    def expect(self, point: Point) -> None:
        """Counts `point` as running."""
        with quiet():
            self.add(self._points.of(point), OptunaState.RUNNING)

    def refuse(self, point: Point) -> None:
        """Counts an old point as running; adds one that is not allowed as broken."""
        known = self._points.of(point)
        if all(v <= 0 for v in known.violations):
            self.expect(point)
            return
        with quiet():
            self._add_broken(known)

    def _add_broken(self, point: KnownPoint) -> None:
        # Optuna needs a value: a mean one, which neither attracts the search nor repels it from the neighbours
        self.add(point, OptunaState.COMPLETE, self._usual, constraints=self._constraints(False))

    def _constraints(self, is_allowed: bool) -> tuple[float, ...]:
        if not self._is_constrained:
            return ()
        return _HOLDS if is_allowed else _BROKEN


def gp_sampler(seed: int, startup_trials: int) -> optuna.samplers.GPSampler:
    """Returns Optuna's sampler with every flag set that is not deprecated."""
    with quiet():
        return QuickGpSampler(
            seed=seed,
            independent_sampler=optuna.samplers.RandomSampler(seed=seed),
            n_startup_trials=startup_trials,
            deterministic_objective=False,
            warn_independent_sampling=False,
        )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Limits PyTorch to one thread: the sums of several threads differ between processes."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
