"""Takes planner steps, each idempotent: read the history → reconcile → decide → record → submit.

May import backend, decisions, publish, report and all below them.
"""

from hposlurm.decisions import is_refill, trials_per_wave
from hposlurm.planner.drivers import drive, set_going, stays
from hposlurm.planner.patience import advance_patiently
from hposlurm.planner.retry import order_retry
from hposlurm.planner.revise import revise
from hposlurm.planner.step import Step, advance
from hposlurm.planner.study import cancel, create, preview

__all__ = [
    "Step",
    "advance",
    "advance_patiently",
    "cancel",
    "create",
    "drive",
    "is_refill",
    "order_retry",
    "preview",
    "revise",
    "set_going",
    "stays",
    "trials_per_wave",
]
