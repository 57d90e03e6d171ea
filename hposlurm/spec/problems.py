"""Turns pydantic's errors into problems that a person can act on: path, given value, allowed values, nearest name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from hposlurm.errors import MOST_PROBLEMS, Problem
from hposlurm.spec import definitions, entries, fields, model, objective_entry, sections
from hposlurm.spec.fields import quoted
from hposlurm.spec.foreign import definition_hint, distribution_hint, key_hint, value_hint
from hposlurm.spec.gpu_memory import GpuMemorySection
from hposlurm.spec.publishing import options_of
from hposlurm.spec.search import SearchSpec
from hposlurm.spec.simulation import SimulationSpec
from hposlurm.spec.yaml_errors import OPENED

_SECTIONS: Mapping[str, type[BaseModel]] = {
    "": model.StudySpec,
    "objectives.*": objective_entry.ObjectiveEntry,
    "objectives.*.efficiency": objective_entry.EfficiencyEntry,
    "objectives.*.sum.*": objective_entry.TermEntry,
    "conditionals.*": definitions.Conditional,
    "search": SearchSpec,
    "search.warm_start.*": entries.Source,
    "budget": sections.BudgetSpec,
    "waves": sections.WavesSpec,
    "trial": sections.TrialSpec,
    "trial.deepspeed": sections.DeepSpeedSpec,
    "resources": sections.ResourcesSpec,
    "gpu_memory": GpuMemorySection,
    "slurm": sections.SlurmSpec,
    "simulation": SimulationSpec,
    "slurm.planner": sections.PlannerSpec,
}
_DEFINITION_PATTERNS = ("parameters.*", "conditionals.*.then.*")

_Location = tuple[int | str, ...]


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Returns the one of `names` that `name` most resembles; None if it resembles none of them."""
    names = sorted(names)
    lowered = {n.lower(): n for n in names}
    found = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.6)
    return lowered[found[0]] if found else None


def suggestion(name: str, names: Iterable[str], what: str = "allowed") -> str:
    """Returns a hint with the nearest of `names`, else with all of them; "" if there are none."""
    names = sorted(names)
    if near := nearest(name, names):
        return f"did you mean {near}?"
    return f"{what}: {', '.join(names)}" if names else ""


def problems_of(error: ValidationError) -> list[Problem]:
    """Returns one problem for each error that pydantic found."""
    found = error.errors(include_url=False)
    # pydantic also reports "too short" for a list whose only entry is invalid
    wrong = {details["loc"][:depth] for details in found for depth in range(len(details["loc"]))}
    due = (details for details in found if details["type"] != "too_short" or details["loc"] not in wrong)
    return [_problem(details) for details in islice(due, MOST_PROBLEMS + 1)]


def _problem(details: ErrorDetails) -> Problem:
    location, kind = _without_tag(details["loc"])
    path = ".".join(map(str, location))
    value, context = details["input"], details.get("ctx", {})
    match details["type"]:
        case fields.COMPLAINT | fields.LATER:
            return Problem(path, details["msg"])
        case "missing":
            return Problem(path, "is missing")
        case "too_short":
            return Problem(path, "must not be empty")
        case "extra_forbidden":
            return _unknown_key(location, path, kind)
        case "literal_error" | "enum":
            return _unknown_value(path, value, str(context["expected"]))
        case "union_tag_invalid":
            tag = str(context["tag"])
            hint = distribution_hint(tag) or suggestion(tag, definitions.DEFINITIONS)
            return Problem(f"{path}.type", f"{quoted(tag)} is not a type", hint)
        case "union_tag_not_found" if isinstance(value, dict):
            hint = definition_hint(value) or "allowed: categorical, float, int; not needed with choices"
            return Problem(f"{path}.type", "is missing", hint)
        case "union_tag_not_found":
            what = f"must be a mapping such as {{type: float, min: 0.0, max: 1.0}}, not {quoted(value)}"
            return Problem(path, what, _as_choices(value))
        case name if name in _MESSAGES:
            return Problem(path, f"{_MESSAGES[name](context)}, not {quoted(value)}")
    return Problem(path, f"{details['msg']}, not {quoted(value)}")


def _as_choices(value: Any) -> str:
    """Returns how the value or list of values that stands for a parameter's definition is written; "" if unknown."""
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(each, str | int | float) for each in values):
        return ""
    written = ", ".join(each if isinstance(each, str) and each.isidentifier() else quoted(each) for each in values[:10])
    return f"write {{choices: [{written}{', …' if len(values) > 10 else ''}]}}"


_MESSAGES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    **dict.fromkeys(("float_type", "float_parsing"), lambda _: "must be a number"),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), lambda _: "must be a whole number"),
    "int_parsing_size": lambda _: "must be a whole number of reasonable size",
    "finite_number": lambda _: "must be a finite number",
    "greater_than": lambda context: f"must be more than {context['gt']:g}",
    "greater_than_equal": lambda context: f"must be at least {context['ge']}",
    "less_than": lambda context: f"must be less than {context['lt']}",
    "less_than_equal": lambda context: f"must be at most {context['le']}",
    **dict.fromkeys(("bool_type", "bool_parsing"), lambda _: "must be true or false"),
    "string_type": lambda _: "must be text (in quotes if it does not look like text)",
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), lambda _: "must be a mapping (key: value)"),
    **dict.fromkeys(("tuple_type", "list_type"), lambda _: "must be a list"),
}


def _without_tag(location: _Location) -> tuple[_Location, str]:
    """Returns `location` without the type of a parameter that pydantic inserts, and that type ("" if there is none)."""
    depth = 2 if location[:1] == ("parameters",) else len(location)
    if location[:1] == ("conditionals",) and "then" in location:
        depth = location.index("then") + 2
    if len(location) > depth and location[depth] in definitions.DEFINITIONS:
        return (*location[:depth], *location[depth + 1 :]), str(location[depth])
    return location, ""


def pattern_of(location: _Location) -> str:
    """Returns `location` with a star for list indices and for names that the user chose: "conditionals.*.then.*.min".

    Nested conditionals have the pattern of those at the top.
    """
    while len(location) > 2 and location[0] == location[2] == "conditionals":
        location = location[2:]
    parts: list[str] = []
    for part in location:
        is_free = isinstance(part, int) or parts == ["parameters"] or parts[-1:] == ["then"]
        parts.append("*" if is_free else part if isinstance(part, str) else str(part))
    return ".".join(parts)


def _keys(section: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in section.model_fields.items()]


def _unknown_key(location: _Location, path: str, kind: str) -> Problem:
    key = str(location[-1])
    parent = pattern_of(location[:-1])
    section = _SECTIONS.get(parent) or options_of(parent)
    if kind and parent in _DEFINITION_PATTERNS:
        section = definitions.DEFINITIONS[kind]
    allowed = _keys(section) if section else []
    message = f"unknown key {quoted(key)}"
    if opened := OPENED.match(key):  # YAML takes `search {algorithm: tpe}` for the key "search {algorithm"
        return Problem(path, message, f"a colon is missing after {opened[1]}")
    if foreign := key_hint(parent, key):
        return Problem(path, message, foreign)
    if elsewhere := _elsewhere(key):
        return Problem(path, message, f"did you mean {elsewhere}?")
    if section is not None and not allowed:
        return Problem(path, message, f"{location[-2]} has no options")
    return Problem(path, message, suggestion(key, allowed, "allowed here"))


def _elsewhere(key: str) -> str | None:
    """Returns the path at which `key` is valid, such as budget.n_trials for n_trials; None if there is none."""
    found = [f"{path}.{key}" for path, section in _SECTIONS.items() if path and key in _keys(section)]
    return next((path for path in found if "*" not in path), None)


def _unknown_value(path: str, value: Any, expected: str) -> Problem:
    allowed = [word.strip("' ") for word in expected.replace(" or ", ",").split(",")]
    text = str(value)
    near = value_hint(text)
    if not set(re.findall(r"\w+", near)) & set(allowed):
        near = nearest(text, allowed) or ""
    hint = f"did you mean {near}? " if near else ""
    return Problem(path, f"{quoted(value)} is not allowed", f"{hint}allowed: {', '.join(allowed)}")
