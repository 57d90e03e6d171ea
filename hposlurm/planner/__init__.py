"""One planner step, idempotent: read the history → reconcile → decide → record → submit."""

from hposlurm.planner.step import Step, advance, drive
from hposlurm.planner.study import cancel, create, preview, revise

__all__ = ["Step", "advance", "cancel", "create", "drive", "preview", "revise"]
