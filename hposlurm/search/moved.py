"""Which parameters CMA-ES can move, and where it is of no use. Standard library only."""

from __future__ import annotations

from hposlurm.errors import RequestError
from hposlurm.space import CategoricalParameter, Parameter, SearchSpace


def moved_parameters(space: SearchSpace) -> tuple[Parameter, ...]:
    """The parameters that CMA-ES can move: numbers that every configuration has, and that have a choice."""
    return tuple(
        p for p in space.parameters if not isinstance(p, CategoricalParameter) and p.condition is None and p.size != 1
    )


def refuse_what_cmaes_cannot_do(space: SearchSpace, n_objectives: int) -> None:
    """Raises RequestError for several objectives, and for a space without a number to move."""
    if n_objectives > 1:
        raise RequestError(
            "search: cmaes has one objective only; with several use tpe, gp, nsga2, nsga3, qmc or random"
        )
    if not moved_parameters(space):
        raise RequestError(
            "search: cmaes moves numbers (float and int parameters outside of conditionals), and there is "
            "none; use tpe, gp, nsga2, qmc, random or grid"
        )
