"""The limits of a study file, so that its check takes seconds and megabytes whatever is in it.

They are checked first, and hold for files of people only: what an earlier version froze can always be read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hposlurm.errors import Problem
from hposlurm.spec.draft import section

MOST_CHOICES = 10_000
_MOST_GENERATIONS = 10_000

#: A wave is planned at once, and Slurm's default MaxJobCount is 10,000.
MOST_IN_WAVE = 10_000
_NUMBERS: Mapping[str, int] = {
    "budget.n_trials": 1_000_000,
    "waves.size": MOST_IN_WAVE,
    "waves.max_concurrent": MOST_IN_WAVE,
    "search.population_size": MOST_IN_WAVE,
    "search.max_resource": 1_000_000_000,
    "trial.retries": 10_000,
    "resources.gpus_per_node": 1_000,
    "resources.cpus_per_task": 10_000,
    "simulation.gpus": 1_000_000,
}
_ENTRIES: Mapping[str, int] = {
    "tags": 100,
    "objectives": 20,
    "parameters": 500,
    "constraints": 500,
    "forbidden": 500,
    "metrics": 1_000,
    "search.enqueue": 1_000,
    "search.warm_start": 100,
    "search.perturb_factors": 100,
    "slurm.setup": 1_000,
    "slurm.extra": 200,
    "publish": 100,
}
_MOST_CONDITIONAL = 500  # conditionals, and parameters in them
_MOST_CHARACTERS: Mapping[str, int] = {"trial.metric_pattern": 2_000}


def bound_problems(data: Mapping[str, Any]) -> Iterator[Problem]:
    """Yields a problem for each value of a study file that is above its limit."""
    for path, most in _NUMBERS.items():
        value = _at(data, path)
        if isinstance(value, int | float) and value > most:
            yield Problem(path, f"must be at most {most}, not {_shown(value)}")
    for path, most in _ENTRIES.items():
        value = _at(data, path)
        if isinstance(value, dict | list | tuple) and len(value) > most:
            yield Problem(path, f"has {len(value)} entries; at most {most} are allowed")
    for path, most in _MOST_CHARACTERS.items():
        value = _at(data, path)
        if isinstance(value, str) and len(value) > most:
            yield Problem(path, f"has {len(value)} characters; at most {most} are allowed")
    yield from _definition_problems(section(data, "parameters"), "parameters")
    yield from _conditional_problems(data.get("conditionals"))
    yield from _generation_problems(section(data, "search"))


def _at(data: Mapping[str, Any], path: str) -> Any:
    name, _, key = path.partition(".")
    return section(data, name).get(key) if key else data.get(name)


def _shown(value: float) -> str:
    return str(value) if not isinstance(value, int) or value.bit_length() < 64 else "a number of more than 64 bits"


def _definition_problems(definitions: Mapping[Any, Any], path: str) -> Iterator[Problem]:
    for name, definition in definitions.items():
        choices = definition.get("choices") if isinstance(definition, dict) else None
        if isinstance(choices, list | tuple) and len(choices) > MOST_CHOICES:
            where = f"{path}.{str(name)[:60]}.choices"
            hint = "an int or float parameter with a step has any number of values"
            yield Problem(where, f"has {len(choices)} entries; at most {MOST_CHOICES} are allowed", hint)


def _conditional_problems(conditionals: Any) -> Iterator[Problem]:
    pending, count = [conditionals], 0
    while pending and count <= _MOST_CONDITIONAL:
        entries = pending.pop()
        for entry in entries if isinstance(entries, list | tuple) else ():
            if isinstance(entry, dict):
                count += 1 + len(section(entry, "then"))
                pending.append(entry.get("conditionals"))
                yield from _definition_problems(section(entry, "then"), "conditionals")
    if count > _MOST_CONDITIONAL:
        what = "conditionals and parameters in them"
        yield Problem("conditionals", f"has more than {_MOST_CONDITIONAL} {what}; that is the limit")


def _generation_problems(search: Mapping[str, Any]) -> Iterator[Problem]:
    interval, most = search.get("perturbation_interval"), search.get("max_resource")
    if isinstance(interval, int) and isinstance(most, int) and interval > 0 and most // interval > _MOST_GENERATIONS:
        what = f"{interval} divides max_resource {most} into more than {_MOST_GENERATIONS} generations"
        yield Problem("search.perturbation_interval", what, f"at least {-(-most // _MOST_GENERATIONS)}")
