"""Checks population-based training, on the raw data: the keys that it needs, and keys that only it uses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hposlurm.errors import Problem
from hposlurm.spec.algorithms import PRUNERS, users
from hposlurm.spec.draft import Draft
from hposlurm.spec.pruning import missing_keys
from hposlurm.spec.search import SearchSpec


def population_problems(data: Mapping[str, Any], draft: Draft) -> Iterator[Problem]:
    """Yields the problems of a population in `search`, and of the mutable parameters."""
    spec = draft.search.whole
    if spec is None:
        return
    if not spec.in_generations:
        yield from _foreign_keys(spec)
        return
    yield from missing_keys(spec)
    interval, most = spec.perturbation_interval, spec.max_resource
    if interval is not None and most is not None and interval >= most:
        what = f"{interval} is not below max_resource {most}: no member would ever be copied"
        yield Problem("search.perturbation_interval", what, f"at most {most - 1}" if most > 1 else "")
    if not any(definition.mutable for definition in draft.definitions.values()):
        yield Problem(
            "parameters",
            "none is mutable, so a copy would be identical to its original",
            "set mutable: true for those that may change while a model is trained, such as a learning rate",
        )
    yield from _count_problems(data.get("budget"), spec)
    waves = data.get("waves")
    if isinstance(waves, dict) and waves.get("mode") in ("overlap", "refill"):
        mode, pruner = waves["mode"], spec.pair[1]
        what = f"{mode} cannot compare a whole generation, which {pruner} does before the next one begins"
        yield Problem("waves.mode", what, "remove it, or use barrier")


def _foreign_keys(spec: SearchSpec) -> Iterator[Problem]:
    """Yields a problem for each given key that only populations read."""
    populations = [row for row in PRUNERS.values() if row.in_generations]
    own = {row.name for row in populations}
    for key in (key for row in populations for key in row.keys if own >= {*users(key)}):
        if getattr(spec, key) != SearchSpec.model_fields[key].default:  # frozen specs name all defaults
            yield Problem(f"search.{key}", f"is for {' and '.join(users(key))}, not for {spec.name}", "remove it")


def _count_problems(budget: Any, spec: SearchSpec) -> Iterator[Problem]:
    size = spec.population_size
    if size is None:
        return
    count = budget.get("n_trials") if isinstance(budget, dict) else None
    if isinstance(count, int) and count < size:
        yield Problem("budget.n_trials", f"{count} is less than search.population_size {size}; copies count as well")
    if len(spec.enqueue) > size:
        what = f"has {len(spec.enqueue)} configurations, but search.population_size is {size}"
        yield Problem("search.enqueue", what, "remove some; all later trials are copies")
