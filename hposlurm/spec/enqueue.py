"""Checks `search.enqueue`: each entry must be a configuration of the space, or a part of one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hposlurm.errors import Problem
from hposlurm.space import Parameter, SearchSpace, signature
from hposlurm.spec.draft import Draft, entries, section, value_problems
from hposlurm.spec.fields import quoted
from hposlurm.trial import Params, ParamValue

_PATH = "search.enqueue"


def enqueue_problems(data: Mapping[str, Any], draft: Draft) -> Iterator[Problem]:
    """Yields the problems of the names and values of the entries, and of their number."""
    queue = entries(section(data, "search").get("enqueue"))
    seen: dict[str, str] = {}
    for index, entry in enumerate(queue):
        path = f"{_PATH}.{index}"
        if not isinstance(entry, dict):
            continue  # the model reports it
        yield from value_problems(path, entry, draft)
        if any(isinstance(value, dict | list) for value in entry.values()):
            continue
        first = seen.setdefault(signature(entry), path)
        if first != path:
            yield Problem(path, f"is the same configuration as {first}")
    n_trials = section(data, "budget").get("n_trials")
    if isinstance(n_trials, int) and 0 < n_trials < len(queue):
        what = f"has {len(queue)} configurations, but budget.n_trials is {n_trials}"
        yield Problem(_PATH, what, "raise it, or remove some")


def unreachable(space: SearchSpace, queue: tuple[Params, ...]) -> Iterator[Problem]:
    """Yields a problem for each entry whose values show that it cannot be completed to a configuration of `space`."""
    for index, entry in enumerate(queue):
        path = f"{_PATH}.{index}"
        for parameter in space.parameters:
            if parameter.name in entry and not _may_be_active(space, parameter, entry):
                why = f"{parameter.name} is inactive here: {parameter.condition} is false"
                yield Problem(f"{path}.{parameter.name}", why, "remove it")
        values: dict[str, ParamValue] = {**space.facts, **entry}
        for constraint in space.constraints:
            if constraint.names <= values.keys() and not space.keeps(constraint, entry):
                given = ", ".join(f"{name} is {quoted(values[name])}" for name in sorted(constraint.names))
                yield Problem(path, f"breaks {constraint.text!r}: {given}")


def _may_be_active(space: SearchSpace, parameter: Parameter, entry: Params) -> bool:
    """False only if the entry's own values decide that the parameter is inactive."""
    condition = parameter.condition
    is_decided = condition is None or condition.names <= {*space.facts, *entry}
    return not is_decided or space.is_active(parameter, entry)
