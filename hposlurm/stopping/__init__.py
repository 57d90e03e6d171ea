"""Stopping at a report: whether a trial goes on, as a pure function of what is recorded. Standard library only."""

from hposlurm.stopping.curve import Curve
from hposlurm.stopping.referee import Referee
from hposlurm.stopping.rule import AT_REPORTS, StopRule
from hposlurm.stopping.ruling import RULING, Ruling, recomputed

__all__ = ["AT_REPORTS", "RULING", "Curve", "Referee", "Ruling", "StopRule", "recomputed"]
