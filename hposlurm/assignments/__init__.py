"""From the spec and the history to assignments: which trials are trained next, and from where to where."""

from hposlurm.assignments.choice import Choice, choose, trials_per_wave
from hposlurm.assignments.observe import observe
from hposlurm.assignments.warm import WarmStart, freeze, gather, read_warm_start

__all__ = ["Choice", "WarmStart", "choose", "freeze", "gather", "observe", "read_warm_start", "trials_per_wave"]
