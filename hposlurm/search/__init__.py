"""The search: decides what to try next and how far to train it, as a pure function of the history.

May import spec, space, pruning (scoring) and trial. Optuna is imported only here.
"""

from hposlurm.search.observation import Answer, Observation, Proposal, SearchProblem, TrainingRequest, Verdict
from hposlurm.search.requests import next_requests, requests_per_wave, stage_ends
from hposlurm.search.rung_correlation import RungCorrelations, rung_correlations
from hposlurm.search.seeds import derive_seed
from hposlurm.search.suggestions import suggest

__all__ = [
    "Answer",
    "Observation",
    "Proposal",
    "RungCorrelations",
    "SearchProblem",
    "TrainingRequest",
    "Verdict",
    "derive_seed",
    "next_requests",
    "requests_per_wave",
    "rung_correlations",
    "stage_ends",
    "suggest",
]
