"""Checks a study file across its sections, on the raw data: an invalid section must not hide problems of others."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from hposlurm.errors import Problem
from hposlurm.space import Unset, same_value
from hposlurm.space.names import variable
from hposlurm.spec import model
from hposlurm.spec.budget import budget_problems
from hposlurm.spec.command import COMMAND_FACTS, UNSET, command_problems
from hposlurm.spec.definitions import CategoricalDefinition, Definition
from hposlurm.spec.draft import Draft, TooManyProblems, entries, mappings, read_draft, section
from hposlurm.spec.enqueue import enqueue_problems
from hposlurm.spec.entries import is_metric_name
from hposlurm.spec.extra import extra_problems
from hposlurm.spec.fields import quoted
from hposlurm.spec.objectives import report_problems
from hposlurm.spec.order import dependency_order
from hposlurm.spec.population import population_problems
from hposlurm.spec.pruning import search_problems
from hposlurm.spec.refill import refill_problems
from hposlurm.spec.sampling import sampling_problems
from hposlurm.spec.simulation import simulation_problems
from hposlurm.trial import ParamValue

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_./:@-]*")
_NAME_LENGTH = 64
# Names that have a meaning in Jinja2, and names of columns of the result table
_JINJA_NAMES = frozenset({"true", "false", "none", "loop", "self", "super", "varargs", "kwargs", "caller"})
_JINJA_GLOBALS = frozenset({"cycler", "dict", "joiner", "lipsum", "namespace", "range"})
_COLUMNS = frozenset({"state", "wave", "attempts", "runtime", "gpu_hours", "node", "reason"})
# Values of every command that a parameter of the same name hides: `{{ seed }}` of a study that searches over seeds
_HIDEABLE = frozenset({"overrides", "params", "seed", "trial_seed"})


def cross_problems(data: Mapping[str, Any], *, frozen: bool = False) -> list[Problem]:
    """Returns the problems in `data` that the model does not find in single values, the first hundred or so.

    A `frozen` spec has no limits: it was checked by another version.
    """
    draft = Draft(most_parts=None) if frozen else Draft()
    with suppress(TooManyProblems):
        _find(data, draft)
    return list(draft.problems)


def _find(data: Mapping[str, Any], draft: Draft) -> None:
    """Adds all problems in `data` to `draft`."""
    read_draft(data, draft)
    metrics = {entry["name"] for _, entry in mappings(data.get("objectives"), "") if isinstance(entry.get("name"), str)}
    metrics |= {name for name in entries(data.get("metrics")) if isinstance(name, str)}
    written: dict[str, str] = {variable(metric): metric for metric in sorted(metrics)}
    for name, where in draft.where.items():
        draft.problems += _name_problems(name, where, metrics, written)
        written.setdefault(variable(name), name)
    for name, definition in draft.definitions.items():
        draft.problems += definition_problems(draft.where[name], definition)
    if cycle := dependency_order(draft.needs)[1]:
        chain = " → ".join([*cycle, cycle[0]])
        draft.problems.append(Problem(draft.where[cycle[0]], f"its condition is circular: {chain}"))
    draft.problems += _objective_problems(data)
    draft.problems += report_problems(data, draft)
    draft.problems += search_problems(data, draft)
    draft.problems += _metric_problems(data, draft)
    draft.problems += enqueue_problems(data, draft)
    draft.problems += population_problems(data, draft)
    draft.problems += refill_problems(data, draft)
    draft.problems += budget_problems(data, draft)
    draft.problems += sampling_problems(data, draft)
    draft.problems += _trial_problems(data, draft)
    draft.problems += simulation_problems(data)
    draft.problems += extra_problems(section(data, "slurm").get("extra"))
    draft.problems += _driver_problems(data)


def _driver_problems(data: Mapping[str, Any]) -> Iterator[Problem]:
    if section(data, "waves").get("mode") == "overlap" and section(data, "slurm").get("driver") == "chain":
        what = "chain cannot be used with waves.mode overlap: its arrays wait for each other"
        yield Problem("slurm.driver", what, "planner or foreground; or waves.mode barrier")


def _name_problems(name: str, where: str, metrics: set[str], written: Mapping[str, str]) -> Iterator[Problem]:
    """Yields what is wrong with a parameter's name; `written` has the names so far by how commands write them."""
    own = variable(name)
    instead = f"choose another name, and `flag: --{name}` if the script needs this one"
    if not _NAME.fullmatch(name) or len(name) > _NAME_LENGTH:
        rule = f"letters, digits and _ . / : @ -, a letter or _ first, at most {_NAME_LENGTH}"
        yield Problem(where, f"{quoted(name)} cannot be a parameter's name: {rule}")
    elif own.lower() in _JINJA_NAMES | _JINJA_GLOBALS:
        yield Problem(where, f"{name} has another meaning in templates", instead)
    elif own in UNSET or own in COMMAND_FACTS - _HIDEABLE:
        yield Problem(where, f"{name} is already defined in every command", instead)
    elif name in _COLUMNS or name in metrics:
        yield Problem(where, f"{name} is already another column of the result table", instead)
    elif own in written:
        what = f"{name} and {written[own]} are both {own} in commands and expressions"
        yield Problem(where, what, "choose another name for one of them")


def definition_problems(where: str, definition: Definition) -> Iterator[Problem]:
    """Yields the problems between the values of one parameter's definition."""
    if isinstance(definition, CategoricalDefinition):
        yield from _choice_problems(where, definition)
        return
    if definition.min > definition.max:
        yield Problem(f"{where}.min", f"must be at most max: {definition.min!r} > {definition.max!r}")
        return
    if definition.log and definition.min <= 0:
        yield Problem(f"{where}.min", f"must be more than 0 with log: true, not {definition.min!r}")
    if definition.log and definition.step not in (None, 1):
        yield Problem(f"{where}.step", "cannot be used with log: true; remove one of them")
    elif definition.step is not None and definition.step > definition.max - definition.min > 0:
        width = f"{definition.max!r} - {definition.min!r}"
        yield Problem(f"{where}.step", f"{definition.step!r} is larger than the whole range ({width})")
    if definition.default is None:
        return
    if not definition.min <= definition.default <= definition.max:
        allowed = f"{definition.min!r} to {definition.max!r}"
        yield Problem(f"{where}.default", f"{definition.default!r} is outside the range {allowed}")
    elif not definition.parameter("", None).contains(definition.default):
        steps = f"{definition.min!r} in steps of {definition.step!r}"
        yield Problem(f"{where}.default", f"{definition.default!r} is not on the grid from {steps}")


def _choice_problems(where: str, definition: CategoricalDefinition) -> Iterator[Problem]:
    choices = definition.choices
    if not choices:
        yield Problem(f"{where}.choices", "must not be empty")
        return
    known: dict[ParamValue, ParamValue] = {}
    for index, choice in enumerate(choices):
        if choice in known:  # true equals 1 here: samplers cannot distinguish the two
            what = f"{quoted(choice)} is the same choice as {quoted(known[choice])}"
            yield Problem(f"{where}.choices.{index}", what)
        known.setdefault(choice, choice)
    default = definition.default
    if not isinstance(default, Unset) and not any(same_value(default, choice) for choice in choices):
        allowed = ", ".join(map(quoted, choices[:20]))
        yield Problem(f"{where}.default", f"{quoted(default)} is not one of the choices", allowed)


def _objective_problems(data: Mapping[str, Any]) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for path, entry in mappings(data.get("objectives"), "objectives"):
        name = entry.get("name")
        if not isinstance(name, str) or not name:
            continue
        if name in seen:
            yield Problem(f"{path}.name", f"{name!r} is already an objective at {seen[name]}")
        elif not is_metric_name(name):
            yield Problem(f"{path}.name", f"{name!r} is not a metric name; allowed: letters, digits and _ . / @ : -")
        seen.setdefault(name, f"{path}.name")


def _metric_problems(data: Mapping[str, Any], draft: Draft) -> Iterator[Problem]:
    for index, name in enumerate(entries(data.get("metrics"))):
        if isinstance(name, str) and (name in draft.facts or name in COMMAND_FACTS):
            yield Problem(f"metrics.{index}", f"{name} is a fact of the resources or of the command, not a metric")


def _trial_problems(data: Mapping[str, Any], draft: Draft) -> Iterator[Problem]:
    trial = section(data, "trial")
    pattern = trial.get("metric_pattern")
    for key in ("command", "evaluate"):
        command = trial.get(key)
        if not isinstance(command, str) or not command.strip():
            continue
        names = {*COMMAND_FACTS, *draft.facts, *(["ds_config"] if trial.get("deepspeed") is not None else [])}
        yield from command_problems(command, names | {*map(variable, draft.where)}, draft.written, f"trial.{key}")
    if isinstance(pattern, str) and pattern:
        yield from _pattern_problems(pattern)
    deepspeed = section(trial, "deepspeed")
    if deepspeed.get("zero_stage") == 0 and deepspeed.get("offload", "none") != "none":
        yield Problem("trial.deepspeed.offload", "needs a zero_stage of 1 or more; stage 0 keeps everything on the GPU")


def _pattern_problems(pattern: str) -> Iterator[Problem]:
    path = "trial.metric_pattern"
    try:
        groups = re.compile(pattern).groupindex
    except (re.error, RecursionError, OverflowError) as error:
        hint = ""
        if odd := re.search(r"\(\?P<(\w+[./:@-][\w./:@-]*)>", pattern):
            hint = f"a group reports {odd[1]} if it is called {variable(odd[1])}"
        yield Problem(path, f"{quoted(pattern)} is not a regular expression: {error}", hint)
        return
    if not groups:
        yield Problem(path, f"{quoted(pattern)} has no named group", r"such as (?P<eval_loss>[\d.]+)")


def resort(problems: Sequence[Problem]) -> list[Problem]:
    """Returns `problems` without duplicates, in the order of the file's sections; those without a section first."""
    order = [info.alias or name for name, info in model.StudySpec.model_fields.items()]
    rank = {section: index for index, section in enumerate(order)}
    return sorted(dict.fromkeys(problems), key=lambda problem: rank.get(problem.path.split(".")[0], -1))
