"""The search: what is to be tried next, and how far it is trained, as a pure function of the history.

May import spec, space, pruning (scoring) and trial. Optuna is imported here and nowhere else.
"""

from hposlurm.search.observation import Answer, Observation, SearchProblem, Suggestion, TrainingRequest, Verdict
from hposlurm.search.premise import Premise, premise
from hposlurm.search.requests import next_requests, requests_per_wave, stage_ends
from hposlurm.search.seeds import derive_seed
from hposlurm.search.suggestions import suggest

__all__ = [
    "Answer",
    "Observation",
    "Premise",
    "SearchProblem",
    "Suggestion",
    "TrainingRequest",
    "Verdict",
    "derive_seed",
    "next_requests",
    "premise",
    "requests_per_wave",
    "stage_ends",
    "suggest",
]
