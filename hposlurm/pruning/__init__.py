"""Stopping at a report: whether a trial goes on, as a pure function of what is recorded. Standard library only.

May import trial and errors, and uses the standard library only: workers decide with it.
"""

from hposlurm.pruning.curve import Curve
from hposlurm.pruning.decider import Decider
from hposlurm.pruning.decision import DECISION, PruningDecision, recomputed
from hposlurm.pruning.rule import AT_REPORTS, StopRule

__all__ = ["AT_REPORTS", "DECISION", "Curve", "Decider", "PruningDecision", "StopRule", "recomputed"]
