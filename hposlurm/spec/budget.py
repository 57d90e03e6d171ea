"""Checks of the budget, on the raw data: does anything end the study, and can it begin at all?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from hposlurm.errors import Problem
from hposlurm.space import FloatParameter
from hposlurm.spec import model
from hposlurm.spec.definitions import Definition
from hposlurm.spec.ends import ends_by


def budget_problems(
    data: Mapping[str, Any], definitions: Mapping[str, Definition], where: Mapping[str, str]
) -> Iterator[Problem]:
    """What is wrong with `budget` in `data`; `where` has the path of each of the valid `definitions`."""
    budget, search = data.get("budget", {}), data.get("search")
    if not isinstance(budget, dict):
        return  # the model reports it
    if "grid" in _algorithms(search):
        yield from _grid_problems(definitions, where)
    elif not ends_by(budget, _algorithms(search)):
        hint = "or set budget.gpu_hours, budget.wall_time or budget.patience"
        if open_end := next((key for key in ("target", "terminator") if key in budget), None):
            hint = f"a {open_end} may never be reached: beside it " + hint.removeprefix("or ")
        yield Problem("budget.n_trials", "is missing; only search.algorithm: grid and pbt end by themselves", hint)
    objectives = data.get("objectives")
    if budget.get("terminator") and isinstance(objectives, list | tuple) and len(objectives) > 1:
        yield Problem("budget.terminator", f"works with one objective, there are {len(objectives)}", "take it out")
    yield from _gpu_hour_problems(budget, data.get("resources", {}))


def _algorithms(search: Any) -> tuple[object, ...]:
    return tuple(search.get(key) for key in ("algorithm", "sampler", "pruner")) if isinstance(search, dict) else ()


def _grid_problems(definitions: Mapping[str, Definition], where: Mapping[str, str]) -> Iterator[Problem]:
    for name, definition in definitions.items():
        parameter = definition.parameter(name, None)
        if isinstance(parameter, FloatParameter) and parameter.low < parameter.high and parameter.step is None:
            how = "give it a step, or list its values as choices"
            yield Problem(where[name], f"a grid cannot use the continuous range of {name}", how)


def _gpu_hour_problems(budget: Mapping[str, Any], resources: Any) -> Iterator[Problem]:
    try:
        limit = model.BudgetSpec.model_validate({"gpu_hours": budget.get("gpu_hours")}).gpu_hours
        asked = model.ResourcesSpec.model_validate(resources)
    except ValidationError:
        return  # the model reports it
    if limit is None:
        return
    if not asked.gpu_hours:
        yield Problem(
            "budget.gpu_hours",
            "the trials ask for no GPUs, so none of it would ever be used",
            "set resources.gpus_per_node, or use budget.wall_time (in an overlay, `gpu_hours: null` takes it out)",
        )
    elif asked.gpu_hours > limit * (1 + 1e-9):
        yield Problem(
            "budget.gpu_hours",
            f"{limit:g} is less than one trial may use: {asked.facts['gpus']} GPUs for {asked.time_min} minutes are "
            f"{asked.gpu_hours:.4g}",
            "raise it, or lower resources.time",
        )
