"""The search: what is to be tried next, and how far it is trained, as a pure function of the history."""

from hposlurm.search.jobs import jobs_per_wave, next_jobs, stage_ends
from hposlurm.search.observation import Answer, Job, Observation, SearchProblem, Suggestion, Verdict
from hposlurm.search.premise import Premise, premise
from hposlurm.search.seeds import derive_seed
from hposlurm.search.suggestions import suggest

__all__ = [
    "Answer",
    "Job",
    "Observation",
    "Premise",
    "SearchProblem",
    "Suggestion",
    "Verdict",
    "derive_seed",
    "jobs_per_wave",
    "next_jobs",
    "premise",
    "stage_ends",
    "suggest",
]
