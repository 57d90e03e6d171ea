"""Checks the sampler against the space and the objectives, on the raw data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hposlurm.errors import Problem
from hposlurm.spec.algorithms import refusals, users
from hposlurm.spec.definitions import CategoricalDefinition, Definition
from hposlurm.spec.draft import Draft, section


def sampling_problems(data: Mapping[str, Any], draft: Draft) -> Iterator[Problem]:
    """Yields a problem for each feature of the study that its sampler does not support."""
    spec, search = draft.search.named, section(data, "search")
    if spec is None:
        return
    key = "sampler" if "sampler" in search else "algorithm"
    objectives = data.get("objectives")
    count = len(objectives) if isinstance(objectives, list | tuple) else 1
    for what, how in refusals(spec.sampler_traits, count, has_numbers=_may_have_numbers(draft)):
        yield Problem(f"search.{key}", what, how)
    if search.get("population_size") is not None and "population_size" not in spec.keys_read:
        what = f"is for {', '.join(users('population_size'))}, not for {spec.name}"
        yield Problem("search.population_size", what, "remove it")


def _may_have_numbers(draft: Draft) -> bool:
    """False only if no parameter outside conditionals is numeric, or can be."""
    names = [name for name, where in draft.where.items() if where.startswith("parameters.")]
    # an invalid definition is reported elsewhere, and may be meant as a number
    return not names or any(name not in draft.definitions or _is_number(draft.definitions[name]) for name in names)


def _is_number(definition: Definition) -> bool:
    return not isinstance(definition, CategoricalDefinition) and definition.min < definition.max
