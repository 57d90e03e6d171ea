"""Runs a study on a virtual cluster in virtual time: the planner's own decisions, with a Python function as the trial.

May import the planner and everything below it.
"""

from hposlurm.simulation.cluster import Cluster, cluster_of
from hposlurm.simulation.directory import figures_of, simulate_study, trainer_of, write_study
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
    "figures_of",
    "load_function",
    "simulate",
    "simulate_study",
    "trainer_of",
    "write_study",
]
