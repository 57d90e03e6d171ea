"""Checks of the search's algorithm against the space and the objectives, on the raw data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from hposlurm.errors import Problem
from hposlurm.spec.definitions import CategoricalDefinition, Definition
from hposlurm.spec.search import SearchSpec

_WITH_POPULATION = ("cmaes", "nsga2", "nsga3")


def sampling_problems(
    data: Mapping[str, Any], definitions: Mapping[str, Definition], where: Mapping[str, str]
) -> Iterator[Problem]:
    """What is wrong with `search` in `data`; `where` has the path of each of the valid `definitions`."""
    search = data.get("search", {})
    if not isinstance(search, dict):
        return  # the model reports it
    key = "sampler" if "sampler" in search else "algorithm"
    try:
        spec = SearchSpec.model_validate({k: search[k] for k in ("algorithm", "sampler", "pruner") if k in search})
    except ValidationError:
        return  # the model reports it
    sampler = spec.pair[0]
    if sampler == "cmaes":
        for what, how in _cmaes_problems(data, definitions, where):
            yield Problem(f"search.{key}", what, how)
    if search.get("population_size") is not None and sampler not in _WITH_POPULATION and spec.pair[1] != "pbt":
        users = ", ".join((*_WITH_POPULATION, "pbt"))
        yield Problem("search.population_size", f"is for {users}, not for {spec.name}", "take it out")


def _cmaes_problems(
    data: Mapping[str, Any], definitions: Mapping[str, Definition], where: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    objectives = data.get("objectives")
    if isinstance(objectives, list | tuple) and len(objectives) > 1:
        yield "cmaes has one objective only", "with several use tpe, gp, nsga2, nsga3, qmc or random"
    unconditional = [name for name in where if where[name].startswith("parameters.")]
    # a definition that is not valid is reported elsewhere, and may be a number
    if unconditional and all(name in definitions and not _is_moved(definitions[name]) for name in unconditional):
        yield (
            "cmaes moves numbers (float and int parameters outside of conditionals), and there is none",
            "use tpe, gp, nsga2, qmc, random or grid",
        )


def _is_moved(definition: Definition) -> bool:
    return not isinstance(definition, CategoricalDefinition) and definition.min < definition.max
