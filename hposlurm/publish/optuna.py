"""Copies results into an Optuna storage: SQLite, PostgreSQL, MySQL or MariaDB, or Optuna's journal file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hposlurm.errors import StudyError
from hposlurm.publish.base import Published
from hposlurm.publish.cursor import Cursor
from hposlurm.publish.identity import STUDY_KEY, TRIAL_KEY, study_id
from hposlurm.publish.urls import with_password
from hposlurm.space import CategoricalParameter, FloatParameter, IntParameter, Parameter
from hposlurm.spec.publishing import OptunaOptions
from hposlurm.trial import Direction, ParamValue, Trial, TrialState, is_finite

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.storages import BaseStorage

JOURNAL = "journal:"


class OptunaStorage:
    """Adds trials that ended, and brings running ones up to date.

    Optuna's finished trials never change: one that failed and was retried is there twice, and its attribute
    hposlurm.again tells the newer one. Trials that wait for their start are left out; paused ones are RUNNING until the
    study is over, then PRUNED.
    """

    def __init__(self, options: OptunaOptions) -> None:
        self._options = options

    def publish(self, study: Published, cursor: Cursor, /) -> None:
        history = study.history
        begun = tuple(trial for trial in history.trials if trial.state is not TrialState.WAITING)
        news = list(cursor.news(replace(history, trials=begun)))
        if not news and not history.finished:
            return
        storage = open_storage(self._options.storage, study.layout.root)
        try:
            copy = _Copy(storage, study, self._options.study_name)
            for trial in begun if history.finished else [each.trial for each in news]:
                copy.bring(trial)
        finally:
            close_storage(storage)


def open_storage(url: str, beside: Path) -> BaseStorage:
    """Returns the storage at `url`; relative files lie in `beside`. Raises StudyError if its driver is missing."""
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    if url.startswith(JOURNAL):
        path = str(beside / url.removeprefix(JOURNAL))
        # an open with O_EXCL works where network file systems refuse to link
        return JournalStorage(JournalFileBackend(path, lock_obj=JournalFileOpenLock(path)))
    if url.startswith("sqlite:///"):
        url = f"sqlite:///{beside / url.removeprefix('sqlite:///')}"
    try:
        return RDBStorage(with_password(url), engine_kwargs=_patience(url))
    except ImportError as error:
        raise StudyError(f"the driver of {url.split('://')[0]} is not installed here: {error}") from None


def close_storage(storage: BaseStorage) -> None:
    """Closes the connections of a database; a process that publishes at every step would keep one for each."""
    from optuna.storages import RDBStorage

    if isinstance(storage, RDBStorage):
        storage.remove_session()
        storage.engine.dispose()


def _patience(url: str) -> dict[str, Any]:
    """Returns SQLAlchemy's options by which a server that does not answer is given up after 20 s."""
    name = "timeout" if url.startswith("sqlite") else "connect_timeout"
    return {"connect_args": {name: 20}, "pool_pre_ping": True}


class _Copy:
    """The study in the storage."""

    def __init__(self, storage: BaseStorage, study: Published, name: str | None) -> None:
        import optuna
        from optuna.study import StudyDirection

        self._storage, self._study = storage, study
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        objectives = study.spec.objectives
        directions = [
            StudyDirection.MAXIMIZE if o.direction is Direction.MAXIMIZE else StudyDirection.MINIMIZE
            for o in objectives
        ]
        names = {optuna_study.study_name: optuna_study._study_id for optuna_study in storage.get_all_studies()}
        self._name = name or study.spec.name
        known = names.get(self._name)
        self._id: int = storage.create_new_study(directions, self._name) if known is None else known
        identity = study_id(study.history)
        attrs = storage.get_study_user_attrs(self._id)
        if attrs.get(STUDY_KEY, identity) != identity:
            raise StudyError(
                f"the storage has another study named {self._name!r}; give study_name another name in publish"
            )
        if STUDY_KEY not in attrs:
            if storage.get_n_trials(self._id):
                raise StudyError(f"the storage has a study named {self._name!r} that hposlurm did not write")
            storage.set_study_user_attr(self._id, STUDY_KEY, identity)
            storage.set_study_system_attr(self._id, "study:metric_names", [o.metric for o in objectives])
        self._distributions = distributions_of(study)
        self._known: dict[int, optuna.trial.FrozenTrial] = {}
        for trial in storage.get_all_trials(self._id, deepcopy=False):
            if isinstance(number := trial.user_attrs.get(TRIAL_KEY), int):
                self._known[number] = trial

    def bring(self, trial: Trial) -> None:
        """Makes the storage's record of the trial that of now."""
        wanted = self._frozen(trial)
        known = self._known.get(trial.number)
        if known is not None and known.state.is_finished():
            if (known.state, known.values) == (wanted.state, wanted.values):
                return
            wanted.user_attrs["hposlurm.again"] = True
            known = None
        if known is None or known.params.keys() != wanted.params.keys():
            self._storage.create_new_trial(self._id, template_trial=wanted)
            return
        for step, value in wanted.intermediate_values.items():
            if known.intermediate_values.get(step) != value:
                self._storage.set_trial_intermediate_value(known._trial_id, step, value)
        for key, attr in wanted.user_attrs.items():
            if known.user_attrs.get(key) != attr:
                self._storage.set_trial_user_attr(known._trial_id, key, attr)
        if wanted.state.is_finished():
            self._storage.set_trial_state_values(known._trial_id, wanted.state, wanted.values)

    def _frozen(self, trial: Trial) -> optuna.trial.FrozenTrial:
        from datetime import datetime

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
        from hposlurm.records.history import metrics_with_peaks

        limits = self._study.spec.limits
        if not limits.expressions or trial.state is not TrialState.COMPLETE:
            return {}
        return {"constraints": list(limits.violations(trial.params, metrics_with_peaks(trial)))}

    def _intermediate(self, trial: Trial) -> Iterator[tuple[int, float]]:
        """Yields the first objective's reports; Optuna has none for several objectives."""
        if len(self._study.spec.objectives) == 1:
            name = self._study.spec.objectives[0].metric
            for report in trial.reports:
                if is_finite(value := report.metrics.get(name)):
                    yield report.step, float(value)


def optuna_state(state: TrialState, *, is_over: bool) -> optuna.trial.TrialState:
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
