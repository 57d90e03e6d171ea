"""Turns the spec and the history into assignments: which trials are trained next, from which step to which.

May import search, spec, render and records. Pure functions of a study file and a history, without a cluster.
"""

from hposlurm.decisions.again import Decision, Moment, decide_again, moments
from hposlurm.decisions.assigned import assigned_trials
from hposlurm.decisions.choice import Choice, choose, problem_of, pruned
from hposlurm.decisions.extent import Population, jobs_wanted, population_of, trials_wanted
from hposlurm.decisions.forecast import waves_ahead
from hposlurm.decisions.modes import (
    Mode,
    elements_wanted,
    is_refill,
    mode_of,
    proposed_ahead,
    trials_in_flight,
    trials_per_wave,
    waves_in_flight,
)
from hposlurm.decisions.observe import DecisionMemory, Observer, needed_of, observe
from hposlurm.decisions.pause import pause_after, reason_to_pause, tried_since
from hposlurm.decisions.walltime import may_differ, stage_limits
from hposlurm.decisions.warm import WarmStart, freeze, gather, read_warm_start

__all__ = [
    "Choice",
    "Decision",
    "DecisionMemory",
    "Mode",
    "Moment",
    "Observer",
    "Population",
    "WarmStart",
    "assigned_trials",
    "choose",
    "decide_again",
    "elements_wanted",
    "freeze",
    "gather",
    "is_refill",
    "jobs_wanted",
    "may_differ",
    "mode_of",
    "moments",
    "needed_of",
    "observe",
    "pause_after",
    "population_of",
    "problem_of",
    "proposed_ahead",
    "pruned",
    "read_warm_start",
    "reason_to_pause",
    "stage_limits",
    "trials_in_flight",
    "trials_per_wave",
    "trials_wanted",
    "tried_since",
    "waves_ahead",
    "waves_in_flight",
]
