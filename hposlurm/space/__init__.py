"""The search space: parameters, the expressions that relate them, and limits on measured metrics.

May import trial and errors. Uses the standard library only.
"""

from hposlurm.space.parameters import (
    UNSET,
    CategoricalParameter,
    FloatParameter,
    IntParameter,
    Parameter,
    SpaceError,
    Unset,
    same_value,
)
from hposlurm.space.search_space import SearchSpace, signature

__all__ = [
    "UNSET",
    "CategoricalParameter",
    "FloatParameter",
    "IntParameter",
    "Parameter",
    "SearchSpace",
    "SpaceError",
    "Unset",
    "same_value",
    "signature",
]
