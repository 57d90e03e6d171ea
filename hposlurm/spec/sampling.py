"""Checks of the sampler against the space and the objectives, on the raw data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hposlurm.errors import Problem
from hposlurm.spec.algorithms import refusals, users
from hposlurm.spec.definitions import CategoricalDefinition, Definition
from hposlurm.spec.draft import Draft, section


def sampling_problems(data: Mapping[str, Any], draft: Draft) -> Iterator[Problem]:
    """Yields what the sampler that `search` names cannot do."""
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
        yield Problem("search.population_size", what, "take it out")


def _may_have_numbers(draft: Draft) -> bool:
    """False only where every parameter outside of conditionals is known to have no number to move."""
    names = [name for name, where in draft.where.items() if where.startswith("parameters.")]
    # a definition that is not valid is reported elsewhere, and may be a number
    return not names or any(name not in draft.definitions or _is_number(draft.definitions[name]) for name in names)


def _is_number(definition: Definition) -> bool:
    return not isinstance(definition, CategoricalDefinition) and definition.min < definition.max
