"""From the spec and the history to assignments: which trials are trained next, and from where to where."""

from hposlurm.assignments.choice import Choice, choose, trials_per_wave
from hposlurm.assignments.observe import observe

__all__ = ["Choice", "choose", "observe", "trials_per_wave"]
