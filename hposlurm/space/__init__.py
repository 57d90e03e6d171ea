"""The search space: parameters, the expressions that join them, and limits on what is measured.

May import trial and errors, and uses the standard library only.
"""

from hposlurm.space.parameters import (
    UNSET,
    CategoricalParameter,
    FloatParameter,
    IntParameter,
    Parameter,
    SearchSpace,
    SpaceError,
    Unset,
    same_value,
    signature,
)

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
