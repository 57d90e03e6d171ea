"""Where waves run: one seam, `Backend`, and its sides `slurm` and `local`. Slurm is asked here and nowhere else.

May import worker (which variables of an environment leak), decisions, spec, render and records; the planner, refill and
the doctor use it. A simulated study has no jobs: `SimulatedCapacity` says only how large its virtual cluster is.
"""

from hposlurm.backend.base import (
    DRIVER_ENDED,
    Backend,
    Capacity,
    ElementState,
    Group,
    Script,
    Usage,
    WaveRequest,
    capacity_of,
    choose,
)
from hposlurm.backend.identity import OwnJob, start_time
from hposlurm.backend.reasons import NEVER_SATISFIED
from hposlurm.backend.simulated import SimulatedCapacity
from hposlurm.records.jobs import ArrayJob

__all__ = [
    "DRIVER_ENDED",
    "NEVER_SATISFIED",
    "ArrayJob",
    "Backend",
    "Capacity",
    "ElementState",
    "Group",
    "OwnJob",
    "Script",
    "SimulatedCapacity",
    "Usage",
    "WaveRequest",
    "capacity_of",
    "choose",
    "start_time",
]
