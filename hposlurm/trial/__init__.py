"""The terms of the search and of the cluster as plain frozen data.

May import errors. Uses the standard library only: the worker imports it.
"""

from __future__ import annotations

from hposlurm.trial.cause import Cause, EndCause
from hposlurm.trial.objective import SCORE, CountedReport, Direction, Efficiency, Objective, Term, ValueRule
from hposlurm.trial.state import DONE, JobState, Outcome, TrialState
from hposlurm.trial.trial import Attempt, Ranked, Report, Stage, Trial, latest_metrics, with_peaks
from hposlurm.trial.value import Params, ParamValue, float_text, has_diverged, is_finite, param_text

__all__ = [
    "DONE",
    "SCORE",
    "Attempt",
    "Cause",
    "CountedReport",
    "Direction",
    "Efficiency",
    "EndCause",
    "JobState",
    "Objective",
    "Outcome",
    "ParamValue",
    "Params",
    "Ranked",
    "Report",
    "Stage",
    "Term",
    "Trial",
    "TrialState",
    "ValueRule",
    "float_text",
    "has_diverged",
    "is_finite",
    "latest_metrics",
    "param_text",
    "with_peaks",
]
