"""From the spec and the history to assignments: which trials are trained next, and from where to where."""

from hposlurm.assignments.choice import Choice, choose
from hposlurm.assignments.held import held
from hposlurm.assignments.modes import trials_per_wave, waves_in_flight
from hposlurm.assignments.observe import observe
from hposlurm.assignments.warm import WarmStart, freeze, gather, read_warm_start

__all__ = [
    "Choice",
    "WarmStart",
    "choose",
    "freeze",
    "gather",
    "held",
    "observe",
    "read_warm_start",
    "trials_per_wave",
    "waves_in_flight",
]
