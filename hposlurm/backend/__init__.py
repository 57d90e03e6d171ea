"""Where waves run: one seam, `Backend`, and its sides `slurm` and `local`.

May import worker (which variables of an environment leak), spec, render and records; the planner, refill and the
doctor use it.
"""

from hposlurm.backend.base import (
    DRIVER_ENDED,
    NEVER_SATISFIED,
    Backend,
    ElementState,
    Group,
    Script,
    Usage,
    WaveRequest,
    choose,
)
from hposlurm.backend.identity import OwnJob, start_time
from hposlurm.records.jobs import ArrayJob

__all__ = [
    "DRIVER_ENDED",
    "NEVER_SATISFIED",
    "ArrayJob",
    "Backend",
    "ElementState",
    "Group",
    "OwnJob",
    "Script",
    "Usage",
    "WaveRequest",
    "choose",
    "start_time",
]
