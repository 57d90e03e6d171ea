"""Tries a valid study out: evaluates its expressions and renders its command for a few hundred random configurations.

The problems that this finds would otherwise stop a planner later, unattended.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from hposlurm.errors import Problem, RequestError
from hposlurm.records.layout import StudyLayout
from hposlurm.space import Parameter, SearchSpace
from hposlurm.space.expressions import Expression, ExpressionError
from hposlurm.space.expressions import parse as parse_expression
from hposlurm.spec.command import COMMAND_FACTS, UNSET, inactive_problems
from hposlurm.spec.definitions import Conditional
from hposlurm.spec.draws import Drawn, draw
from hposlurm.spec.enqueue import unreachable
from hposlurm.spec.entries import clause_text, forbidding
from hposlurm.spec.fields import quoted
from hposlurm.spec.memory_probe import memory_problems
from hposlurm.spec.model import StudySpec
from hposlurm.trial import Params, ParamValue

_CHARACTERS = 1_000_000  # of commands to render, which takes about a second
_LEAST_RENDERED = 10  # configurations, however long the command is
_WORK = 300_000  # parts of expressions to compute in one search for a misspelt choice, about 0.3 s
_COUNTED = 2000  # configurations; larger spaces are not searched for one that the constraints allow


def probe_problems(spec: StudySpec) -> list[Problem]:
    """Returns the problems with configurations of the space: expressions without a value, constraints, the command."""
    space = spec.space
    drawn = draw(space)
    problems = _expression_problems(spec, space, drawn)
    if problems:
        return problems
    problems = [*memory_problems(spec, space, drawn)]
    problems += _constraint_problems(spec, space, may_count=not problems)
    problems += unreachable(space, spec.search.enqueue)
    feasible = [params for params in drawn if space.is_feasible(params)]
    command = spec.trial.script
    rendered = feasible[: max(_LEAST_RENDERED, _CHARACTERS // len(command))]
    inactive = inactive_problems(command, space, {*COMMAND_FACTS, *UNSET}, rendered)
    return problems + (inactive or _command_problems(spec, rendered))


def _command_problems(spec: StudySpec, drawn: Drawn) -> list[Problem]:
    """Returns a problem for the first configuration whose command, or files of metrics, cannot be written."""
    from hposlurm.render.trial import commands, metric_files

    layout, template = StudyLayout(Path("runs", spec.name).absolute()), spec.command_template
    for number, params in enumerate(drawn):
        for path, write in (("trial.command", commands), ("trial.metrics", metric_files)):
            try:
                write(layout, template, number, params, number)
            except RequestError as error:
                return [Problem(path, str(error).removeprefix(f"{path}: "))]
    return []


def _expression_problems(spec: StudySpec, space: SearchSpace, drawn: Drawn) -> list[Problem]:
    """Returns a problem for each expression that has a value for no configuration (text < number), or is never true."""
    problems: list[Problem] = []
    limits = {limit.text for limit in space.limits.expressions}
    written = {**_conditions(spec.conditionals, "conditionals"), **_clauses(spec)}
    work = 10 * _WORK // max(10, len(written))  # for each
    for path, text in written.items():
        if text in limits:  # metrics are not measured yet
            continue
        expression = parse_expression(text, spec.written_names)
        if reason := _never_a_value(expression, space.facts, drawn):
            problems.append(Problem(path, f"{text!r} never has a value: {reason}"))
        elif ranges := _never_true(expression, space, work):
            problems.append(Problem(path, f"{text!r} is never true", ranges))
    return problems


def _conditions(conditionals: Sequence[Conditional], path: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for index, conditional in enumerate(conditionals):
        place = f"{path}.{index}"
        found[f"{place}.if"] = conditional.condition
        found |= _conditions(conditional.conditionals, f"{place}.conditionals")
    return found


def _clauses(spec: StudySpec) -> dict[str, str]:
    """Returns constraints and forbidden clauses by their paths."""
    constraints = {f"constraints.{i}": text for i, text in enumerate(spec.constraints)}
    return constraints | {f"forbidden.{i}": clause_text(clause) for i, clause in enumerate(spec.forbidden)}


def _never_true(expression: Expression, space: SearchSpace, work: int) -> str:
    """Returns the values of the parameters in `expression` if it is false for all of them (a misspelt choice), else "".

    Expressions with a fact are not checked: an overlay for a smaller machine may disable a conditional on purpose.
    Neither are those that would take more than `work`, in parts to compute.
    """
    named = [parameter for parameter in space.parameters if parameter.name in expression.names]
    sizes = [parameter.size for parameter in named]
    if len(named) < len(expression.names) or not named:
        return ""
    count = math.prod(size for size in sizes if size is not None)
    if None in sizes or count > min(_COUNTED, work // expression.size):
        return ""
    for values in itertools.product(*(parameter.values() for parameter in named)):
        with contextlib.suppress(ExpressionError):
            if expression.evaluate({p.name: value for p, value in zip(named, values, strict=True)}):
                return ""
    return "; ".join(f"{p.name} is one of {_listed(p)}" for p in named)


def _listed(parameter: Parameter) -> str:
    values = [quoted(value) for value in itertools.islice(parameter.values(), 11)]
    return ", ".join(values[:10]) + (", …" if len(values) > 10 else "")


def _never_a_value(expression: Expression, facts: Params, drawn: Drawn) -> str:
    reason = ""
    for params in drawn:
        values: Mapping[str, ParamValue] = {**facts, **params}
        if expression.names <= values.keys():
            try:
                expression.evaluate(values)
            except ExpressionError as error:
                reason = str(error)
            else:
                return ""
    return reason


def _constraint_problems(spec: StudySpec, space: SearchSpace, *, may_count: bool) -> list[Problem]:
    """Returns the constraints that the default values break, or that together leave nothing (if it `may_count`)."""
    problems: list[Problem] = []
    defaults = space.defaults()
    values, names = {**space.facts, **defaults}, spec.written_names
    limits = {limit.text for limit in space.limits.expressions}
    for path, text in _clauses(spec).items():
        is_forbidden = path.startswith("forbidden.")
        constraint = parse_expression(forbidding(text) if is_forbidden else text, names)
        if text in limits or not constraint.names <= values.keys() or space.keeps(constraint, defaults):
            continue
        named = ", ".join(f"{name} is {values[name]!r}" for name in sorted(constraint.names)) or "nothing in it varies"
        is_fixed = constraint.names <= space.facts.keys()
        what = "for every trial" if is_fixed else "for the default values, which form the first trial"
        problems.append(Problem(path, f"{text!r} is {'true' if is_forbidden else 'false'} {what}: {named}"))
    if may_count and not problems and space.constraints and space.cardinality(_COUNTED) == 0:
        path = "constraints" if spec.constraints else "forbidden"
        problems.append(Problem(path, "no configuration satisfies all of them"))
    return problems
