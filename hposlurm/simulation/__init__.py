"""A study on a virtual cluster in virtual time: the planner's own decisions, with a Python function as the trial.

May import the planner and everything below it.
"""

from hposlurm.simulation.cluster import Cluster, cluster_of
from hposlurm.simulation.directory import write_study
from hposlurm.simulation.function import Row, Trainer, TrialFunction, load_function
from hposlurm.simulation.result import Simulated
from hposlurm.simulation.run import simulate

__all__ = [
    "Cluster",
    "Row",
    "Simulated",
    "Trainer",
    "TrialFunction",
    "cluster_of",
    "load_function",
    "simulate",
    "write_study",
]
