"""Makes Optuna's trials of ours: states, distributions, attributes, intermediate values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hposlurm.publish.base import Published
from hposlurm.publish.identity import TRIAL_KEY
from hposlurm.space import CategoricalParameter, FloatParameter, IntParameter, Parameter
from hposlurm.trial import Direction, ParamValue, Trial, TrialState, is_finite

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import StudyDirection
    from optuna.trial import FrozenTrial
    from optuna.trial import TrialState as OptunaState


def directions_of(study: Published) -> list[StudyDirection]:
    """Returns Optuna's direction of each objective."""
    from optuna.study import StudyDirection

    theirs = {Direction.MAXIMIZE: StudyDirection.MAXIMIZE, Direction.MINIMIZE: StudyDirection.MINIMIZE}
    return [theirs[objective.direction] for objective in study.spec.objectives]


class OptunaTrials:
    """Makes the trials of one study, as they are now."""

    def __init__(self, study: Published) -> None:
        self._study = study
        self._distributions = distributions_of(study)

    def frozen(self, trial: Trial) -> FrozenTrial:
        """Returns Optuna's trial, without a number."""
        from optuna.trial import FrozenTrial

        state = optuna_state(trial.state, is_over=bool(self._study.history.finished))
        started = [a.started_at for a in trial.attempts if a.started_at]
        ended = [a.ended_at for a in trial.attempts if a.ended_at]

        def moment(seconds: float) -> datetime:  # Optuna's own times have no time zone, and are UTC since 5.0
            return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)

        params = {k: v for k, v in trial.params.items() if k in self._distributions}
        is_over = state.is_finished()
        return FrozenTrial(
            number=-1,
            trial_id=-1,
            state=state,
            value=None,
            values=list(trial.values) if trial.values is not None and is_over and state.name != "FAIL" else None,
            datetime_start=moment(min(started)) if started else moment(self._study.history.plans[0].created_at),
            datetime_complete=moment(max(ended) if ended else min(started, default=0.0)) if is_over else None,
            params=params,
            distributions={name: self._distributions[name] for name in params},
            user_attrs=self._attrs(trial),
            system_attrs=self._constraints(trial),
            intermediate_values=dict(self._intermediate(trial)),
        )

    def _attrs(self, trial: Trial) -> dict[str, Any]:
        found: dict[str, Any] = {
            TRIAL_KEY: trial.number,
            "state": str(trial.state),
            "wave": trial.wave,
            "attempts": len(trial.attempts),
            "gpu_hours": trial.gpu_hours,
            "reason": trial.reason,
        }
        return {name: value for name, value in found.items() if value != ""}

    def _constraints(self, trial: Trial) -> dict[str, Any]:
        """Returns by how much limits on metrics are broken, where Optuna's samplers and plots look for it."""

        limits = self._study.spec.limits
        if not limits.expressions or trial.state is not TrialState.COMPLETE:
            return {}
        return {"constraints": list(limits.violations(trial.params, trial.known_metrics))}

    def _intermediate(self, trial: Trial) -> Iterator[tuple[int, float]]:
        """Yields the first objective's reports; Optuna has none for several objectives."""
        if len(self._study.spec.objectives) == 1:
            name = self._study.spec.objectives[0].metric
            for report in trial.reports:
                if is_finite(value := report.metrics.get(name)):
                    yield report.step, float(value)


def optuna_state(state: TrialState, *, is_over: bool) -> OptunaState:
    """Returns Optuna's state; a paused trial is RUNNING until the study is over, then PRUNED."""
    from optuna.trial import TrialState as Theirs

    if state in (TrialState.RUNNING, TrialState.PAUSED, TrialState.WAITING):
        return Theirs.PRUNED if is_over else Theirs.RUNNING
    return {TrialState.COMPLETE: Theirs.COMPLETE, TrialState.PRUNED: Theirs.PRUNED, TrialState.FAIL: Theirs.FAIL}[state]


def distributions_of(study: Published) -> dict[str, BaseDistribution]:
    """Returns Optuna's distribution of each parameter, wide enough for all values that the study has tried.

    The space may have been changed while the study ran, and Optuna refuses a value outside of its distribution.
    """
    tried: dict[str, list[ParamValue]] = {}
    for trial in study.history.trials:
        for name, value in trial.params.items():
            tried.setdefault(name, []).append(value)
    return {p.name: _distribution(p, tried.get(p.name, ())) for p in study.spec.space.parameters}


def _distribution(parameter: Parameter, tried: Iterable[ParamValue]) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    values = list(tried)
    numbers = [value for value in values if is_finite(value)]
    if isinstance(parameter, CategoricalParameter) or len(numbers) < len(values):
        own = parameter.choices if isinstance(parameter, CategoricalParameter) else ()
        return CategoricalDistribution(tuple(dict.fromkeys([*own, *values])))
    low, high = min([parameter.low, *numbers]), max([parameter.high, *numbers])
    if isinstance(parameter, IntParameter):
        step = parameter.step if not parameter.log and (high - low) % parameter.step == 0 else 1
        return IntDistribution(int(low), int(high), log=parameter.log and low >= 1, step=step)
    return FloatDistribution(float(low), float(high), log=parameter.log and low > 0, step=_step(parameter, low, high))


def _step(parameter: FloatParameter, low: float, high: float) -> float | None:
    is_own_range = (low, high) == (parameter.low, parameter.high)
    return parameter.step if is_own_range and not parameter.log and low < high else None
