"""Caches what auto computed for a study."""

from __future__ import annotations

from hposlurm.search.auto.encoding import Encoder
from hposlurm.search.auto.records import LossTables
from hposlurm.search.memory import SearchMemory
from hposlurm.search.observation import SearchProblem
from hposlurm.search.rungs import levels_of
from hposlurm.space import SearchSpace
from hposlurm.trial import Objective

Levels = tuple[int | None, ...]

WHOLE: Levels = (None,)  # the one rung of a search without `max_resource`: the training's own end


class AutoMemory:
    """The encoder of a space, and the tables of the study's own trials and of those of other studies."""

    def __init__(self, space: SearchSpace, objective: Objective, levels: Levels) -> None:
        self.encoder = Encoder(space)
        self.own = LossTables(self.encoder, objective, levels)
        self.prior = LossTables(self.encoder, objective, levels)

    def is_of(self, space: SearchSpace, objective: Objective, levels: Levels) -> bool:
        """True if it was made for these."""
        return (self.own.objective, self.own.levels) == (objective, levels) and self.encoder.is_of(space)


def memory_of(problem: SearchProblem) -> AutoMemory:
    """Returns the cache for the problem; replaces it if it was made for another one."""
    memory: SearchMemory = problem.memory
    asked = problem.space, problem.objectives[0], levels_of(problem.search) or WHOLE
    if memory.auto is None or not memory.auto.is_of(*asked):
        memory.auto = AutoMemory(*asked)
    return memory.auto
