"""Pruning at reports: decides whether a trial goes on, as a pure function of the recorded reports.

May import trial and errors. Uses the standard library only, because workers make the decisions.
"""

from hposlurm.pruning.curve import Curve
from hposlurm.pruning.decider import Decider
from hposlurm.pruning.decision import DECISION, PruningDecision, recomputed
from hposlurm.pruning.rule import StopRule

__all__ = ["DECISION", "Curve", "Decider", "PruningDecision", "StopRule", "recomputed"]
