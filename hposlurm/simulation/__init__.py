"""A study on a virtual cluster in virtual time: the planner's own decisions, with a Python function as the trial."""

from hposlurm.simulation.cluster import Cluster
from hposlurm.simulation.function import Row, TrialFunction, load_function
from hposlurm.simulation.result import Simulated
from hposlurm.simulation.run import simulate

__all__ = ["Cluster", "Row", "Simulated", "TrialFunction", "load_function", "simulate"]
