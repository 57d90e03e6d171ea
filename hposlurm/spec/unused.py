"""What a study file says and this study's algorithm does not use. No error: the same file serves several of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hposlurm.spec.search import WITH_RUNGS, SearchSpec

if TYPE_CHECKING:
    from hposlurm.spec.model import StudySpec

_WITH_MODEL = ("tpe", "gp", "auto")


def unused(spec: StudySpec) -> tuple[str, ...]:
    """One sentence for each key that differs from its default, and that nothing in this study looks at."""
    search = spec.search
    sampler, pruner = search.pair
    has_rungs = pruner in WITH_RUNGS or (pruner == "auto" and search.max_resource is not None)
    compares = pruner in WITH_RUNGS or search.stop_by is not None or search.in_generations
    used = {
        "startup_trials": sampler in _WITH_MODEL,
        "min_resource": has_rungs,
        "reduction_factor": has_rungs,
        "compare_by": compares,
    }
    keys = [f"search.{key}" for key, is_used in used.items() if not is_used and _is_given(search, key)]
    if not search.in_generations:
        keys += [f"parameters.{name}.mutable" for name in sorted(spec.mutable)]
    return tuple(f"{key} is not used by {search.name}" for key in keys)


def _is_given(search: SearchSpec, key: str) -> bool:
    return bool(getattr(search, key) != SearchSpec.model_fields[key].default)  # frozen specs name all defaults
