"""Names of a study and of its trials in outside services: the same ones whenever and from wherever it is published."""

from __future__ import annotations

from hposlurm.publish.cursor import digest_of
from hposlurm.records.history import History
from hposlurm.trial import Trial, is_finite

#: The number of a trial in its study, as an attribute or tag. By it a service's record of the trial is found again.
TRIAL_KEY = "hposlurm.trial"
#: The identity of the study, as an attribute or tag.
STUDY_KEY = "hposlurm.study"


def study_id(history: History) -> str:
    """Returns the study's name and eight digits that no other study of that name has: "bloom-squad-1f3a09bc".

    It depends on what never changes: the name and the moment of the first plan. Moving the directory keeps it.
    """
    first = history.plans[0]
    return f"{first.study}-{digest_of([first.study, first.created_at])[:8]}"


def trial_id(history: History, trial: Trial) -> str:
    """Returns one stable id per trial, across all of its attempts: "bloom-squad-1f3a09bc-00017"."""
    return f"{study_id(history)}-{trial.number:05d}"


def number_of(value: float | str) -> float | None:
    """Returns a reported value as a float, nan and infinities included; None for text."""
    if is_finite(value):
        return float(value)
    return float(value) if value in ("nan", "inf", "-inf") else None
