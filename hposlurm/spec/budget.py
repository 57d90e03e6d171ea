"""Checks the budget, on the raw data: does it end the study, and does it allow at least one trial?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from hposlurm.errors import Problem
from hposlurm.space import FloatParameter
from hposlurm.spec import sections
from hposlurm.spec.algorithms import SAMPLERS, self_ending
from hposlurm.spec.definitions import Definition
from hposlurm.spec.draft import Draft, section
from hposlurm.spec.ends import ends_by


def budget_problems(data: Mapping[str, Any], draft: Draft) -> Iterator[Problem]:
    """Yields the problems of `budget` in `data`."""
    budget, search = data.get("budget", {}), section(data, "search")
    if not isinstance(budget, dict):
        return  # the model reports it
    algorithms = {name for key in ("algorithm", "sampler", "pruner") if isinstance(name := search.get(key), str)}
    if any(name in SAMPLERS and SAMPLERS[name].lists_all for name in algorithms):
        yield from _grid_problems(draft.definitions, draft.where)
    elif not ends_by(budget, algorithms):
        hint = "or set budget.gpu_hours, budget.wall_time or budget.patience"
        if open_end := next((key for key in ("target", "terminator") if key in budget), None):
            hint = f"a {open_end} may never be reached; also " + hint.removeprefix("or ")
        yield Problem(
            "budget.n_trials",
            f"is missing; only search.algorithm: {' and '.join(self_ending())} end by themselves",
            hint,
        )
    objectives = data.get("objectives")
    if budget.get("terminator") and isinstance(objectives, list | tuple) and len(objectives) > 1:
        yield Problem("budget.terminator", f"works only with one objective; there are {len(objectives)}", "remove it")
    yield from _gpu_hour_problems(budget, draft.resources)


def _grid_problems(definitions: Mapping[str, Definition], where: Mapping[str, str]) -> Iterator[Problem]:
    for name, definition in definitions.items():
        parameter = definition.parameter(name, None)
        if isinstance(parameter, FloatParameter) and parameter.low < parameter.high and parameter.step is None:
            how = "give it a step, or list its values as choices"
            yield Problem(where[name], f"a grid cannot use the continuous range of {name}", how)


def _gpu_hour_problems(budget: Mapping[str, Any], asked: sections.ResourcesSpec | None) -> Iterator[Problem]:
    try:
        limit = sections.BudgetSpec.model_validate({"gpu_hours": budget.get("gpu_hours")}).gpu_hours
    except ValidationError:
        return  # the model reports it
    if limit is None or asked is None:
        return
    if not asked.gpu_hours:
        yield Problem(
            "budget.gpu_hours",
            "the trials request no GPUs, so it would never be used",
            "set resources.gpus_per_node, or use budget.wall_time (in an overlay, `gpu_hours: null` removes it)",
        )
    elif asked.gpu_hours > limit * (1 + 1e-9):
        yield Problem(
            "budget.gpu_hours",
            f"{limit:g} is less than one trial may use: {asked.facts['gpus']} GPUs for {asked.time_min} minutes are "
            f"{asked.gpu_hours:.4g}",
            "raise it, or lower resources.time",
        )
