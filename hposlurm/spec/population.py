"""Checks of population-based training, on the raw data: what it needs, and what means nothing without it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from hposlurm.errors import Problem
from hposlurm.spec.definitions import Definition
from hposlurm.spec.search import SearchSpec

_OWN = ("perturbation_interval", "quantile", "resample_probability", "perturb_factors")


def population_problems(data: Mapping[str, Any], definitions: Mapping[str, Definition]) -> Iterator[Problem]:
    """What is wrong with `search` and the mutable parameters in `data`; `definitions` are the valid ones."""
    search = data.get("search", {})
    try:
        spec = SearchSpec.model_validate(search)
    except ValidationError:
        return  # the model reports it
    if not spec.in_generations:
        for key in _OWN:
            if getattr(spec, key) != SearchSpec.model_fields[key].default:  # frozen specs name all defaults
                yield Problem(f"search.{key}", f"is for pbt, not for {spec.name}", "take it out")
        return
    for key, what in (
        ("population_size", "how many models are trained side by side"),
        ("max_resource", "the step at which training ends"),
        ("perturbation_interval", "after how many steps the worst become copies of the best"),
    ):
        if getattr(spec, key) is None:
            yield Problem(f"search.{key}", f"is missing; pbt needs it: {what}")
    interval, most = spec.perturbation_interval, spec.max_resource
    if interval is not None and most is not None and interval >= most:
        what = f"{interval} is not below max_resource {most}: nobody would ever be copied"
        yield Problem("search.perturbation_interval", what, f"at most {most - 1}" if most > 1 else "")
    if not any(definition.mutable for definition in definitions.values()):
        yield Problem(
            "parameters",
            "none is mutable, so a copy would be just like what it is copied from",
            "mutable: true for those that may change while a model is trained, such as a learning rate",
        )
    yield from _count_problems(data.get("budget"), spec)
    waves = data.get("waves")
    if isinstance(waves, dict) and waves.get("mode") in ("overlap", "refill"):
        what = f"{waves['mode']} cannot compare a whole generation, which pbt does before the next one begins"
        yield Problem("waves.mode", what, "take it out, or barrier")


def _count_problems(budget: Any, spec: SearchSpec) -> Iterator[Problem]:
    size = spec.population_size
    if size is None:
        return
    count = budget.get("n_trials") if isinstance(budget, dict) else None
    if isinstance(count, int) and count < size:
        yield Problem("budget.n_trials", f"{count} is less than search.population_size {size}; copies count as well")
    if len(spec.enqueue) > size:
        what = f"has {len(spec.enqueue)} configurations, but search.population_size is {size}"
        yield Problem("search.enqueue", what, "take some out: what is added later are copies")
