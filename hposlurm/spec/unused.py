"""Finds keys of a study file that its algorithm does not use.

They are allowed: one file may serve several algorithms.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from hposlurm.spec.search import SearchSpec, default_startup

if TYPE_CHECKING:
    from hposlurm.spec.model import StudySpec

# Keys that are allowed with every algorithm; each other key is an error with an algorithm that does not use it
_SHARED = ("startup_trials", "min_resource", "reduction_factor", "compare_by")


def unused(spec: StudySpec) -> tuple[str, ...]:
    """Returns one sentence for each key that differs from its default and that this study does not use."""
    search = spec.search
    defaults = {"startup_trials": default_startup(spec.budget.n_trials)}
    keys = [f"search.{key}" for key in _SHARED if key not in search.keys_read and _is_given(search, key, defaults)]
    if not search.in_generations:
        keys += [f"parameters.{name}.mutable" for name in sorted(spec.mutable)]
    return tuple(f"{key} is not used by {search.name}" for key in keys)


def _is_given(search: SearchSpec, key: str, defaults: Mapping[str, int]) -> bool:
    field = SearchSpec.model_fields[key]  # frozen specs name all defaults
    return getattr(search, key) not in (field.default, defaults.get(key, field.default))
