"""Keeps a copy of studies in memory as an Optuna storage, for programs that show one."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

import optuna
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial

from hposlurm.publish.base import Published
from hposlurm.publish.identity import STUDY_KEY, study_id
from hposlurm.publish.optuna_trials import OptunaTrials, directions_of
from hposlurm.trial import Trial, TrialState

if TYPE_CHECKING:
    from collections.abc import Mapping


class CopiedStudies(InMemoryStorage):
    """Studies as they were when `bring` was last called.

    A trial has the number that it has in its study, waiting ones included. What somebody else writes into this storage
    stays here: a note, another name. A study that somebody deletes here stays deleted.
    """

    def __init__(self) -> None:
        super().__init__()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        # by the study's identity: whether it was over, and its trials
        self._brought: dict[str, tuple[bool, Mapping[int, Trial]]] = {}

    def bring(self, study: Published) -> bool:
        """Makes the copy of a study that of now; True if anything changed. A study without a plan is left out."""
        if not study.history.plans:
            return False
        identity = study_id(study.history)
        copied = self._id_of(identity) if identity in self._brought else self._added(study, identity)
        is_over = bool(study.history.finished)
        was_over, known = self._brought[identity]
        if was_over != is_over:
            known = {}  # the states of all that has not ended are others
        news = [trial for trial in study.history.trials if trial != known.get(trial.number)]
        if copied is None or not news:
            return False
        trials = OptunaTrials(study)
        with self._lock:
            for trial in news:
                self._put(copied, trial.number, _frozen(trials, trial, is_over))
        self._brought[identity] = is_over, {trial.number: trial for trial in study.history.trials}
        return True

    def _added(self, study: Published, identity: str) -> int:
        taken = {found.study_name for found in self.get_all_studies()}
        name = study.spec.name if study.spec.name not in taken else str(study.layout.root)
        copied = self.create_new_study(directions_of(study), name if name not in taken else identity)
        self.set_study_user_attr(copied, STUDY_KEY, identity)
        self.set_study_system_attr(copied, "study:metric_names", [o.metric for o in study.spec.objectives])
        self._brought[identity] = False, {}
        return copied

    def _id_of(self, identity: str) -> int | None:
        """Returns the id of a copied study, which a new name changes; None if it was deleted here."""
        studies = self.get_all_studies()
        return next((s._study_id for s in studies if s.user_attrs.get(STUDY_KEY) == identity), None)

    def _put(self, study: int, number: int, trial: FrozenTrial) -> None:
        """Puts a trial where its number says; Optuna's own methods neither change ended ones nor set their times."""
        trials = self._studies[study].trials
        if number >= len(trials):
            self.create_new_trial(study, template_trial=trial)
            return
        trial.number, trial._trial_id = number, trials[number]._trial_id
        self._set_trial(trial._trial_id, trial)
        self._update_cache(trial._trial_id, study)


def _frozen(trials: OptunaTrials, trial: Trial, is_over: bool) -> FrozenTrial:
    """Returns Optuna's trial; its times are local ones, as Optuna's own in memory are."""
    found = trials.frozen(trial)
    if trial.state is TrialState.WAITING and not is_over:
        found.state = optuna.trial.TrialState.WAITING
    for name in ("datetime_start", "datetime_complete"):
        if (moment := getattr(found, name)) is not None:
            setattr(found, name, moment.replace(tzinfo=UTC).astimezone().replace(tzinfo=None))
    return found
