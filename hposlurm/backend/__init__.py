"""Runs waves: one interface, `Backend`, with the implementations `slurm` and `local`. Only this room asks Slurm.

May import worker (which environment variables leak), decisions, spec, render and records; the planner, refill and the
doctor use it. A simulated study has no jobs: `SimulatedCapacity` gives only the size of its virtual cluster.
"""

from hposlurm.backend.base import (
    DRIVER_ENDED,
    Backend,
    Capacity,
    ElementState,
    Group,
    NodeJob,
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
    "NodeJob",
    "OwnJob",
    "Script",
    "SimulatedCapacity",
    "Usage",
    "WaveRequest",
    "capacity_of",
    "choose",
    "start_time",
]
