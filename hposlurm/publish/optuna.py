"""Copies results into an Optuna storage: SQLite, PostgreSQL, MySQL or MariaDB, or Optuna's journal file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hposlurm.errors import StudyError
from hposlurm.publish.base import Published
from hposlurm.publish.cursor import Cursor
from hposlurm.publish.identity import STUDY_KEY, TRIAL_KEY, study_id
from hposlurm.publish.optuna_trials import OptunaTrials, directions_of
from hposlurm.publish.urls import with_password
from hposlurm.spec.publishing import OptunaOptions
from hposlurm.trial import Trial, TrialState

if TYPE_CHECKING:
    import optuna
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

        self._storage, self._study = storage, study
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        names = {optuna_study.study_name: optuna_study._study_id for optuna_study in storage.get_all_studies()}
        self._name = name or study.spec.name
        known = names.get(self._name)
        self._id: int = storage.create_new_study(directions_of(study), self._name) if known is None else known
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
            storage.set_study_system_attr(self._id, "study:metric_names", [o.metric for o in study.spec.objectives])
        self._trials = OptunaTrials(study)
        self._known: dict[int, optuna.trial.FrozenTrial] = {}
        for trial in storage.get_all_trials(self._id, deepcopy=False):
            if isinstance(number := trial.user_attrs.get(TRIAL_KEY), int):
                self._known[number] = trial

    def bring(self, trial: Trial) -> None:
        """Makes the storage's record of the trial that of now."""
        wanted = self._trials.frozen(trial)
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
