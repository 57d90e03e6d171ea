"""Reads the valid parts of a search space from a study file with problems: names, definitions, expressions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from pydantic import TypeAdapter, ValidationError

from hposlurm.errors import MOST_PROBLEMS, Problem
from hposlurm.space.expressions import Expression, ExpressionError
from hposlurm.space.expressions import parse as parse_expression
from hposlurm.space.metric_constraints import MEASURED
from hposlurm.spec import model, sections
from hposlurm.spec.command import UNSET, name_hint
from hposlurm.spec.definitions import CategoricalDefinition, Definition, IntDefinition, within
from hposlurm.spec.entries import clause_text, forbidding
from hposlurm.spec.fields import quoted
from hposlurm.spec.problems import nearest, suggestion
from hposlurm.spec.search import SearchSpec
from hposlurm.trial import ParamValue

_ADAPTER: TypeAdapter[Definition] = TypeAdapter(Definition)
_MAX_LEVELS = 10  # of nested conditionals
#: Constants, names and operators in all expressions of a file together: each is computed some hundred times.
MOST_PARTS = 5_000


@dataclass(frozen=True, slots=True)
class SearchDraft:
    """The valid parts of the section `search`; the model reports the others."""

    #: Only its algorithm; other keys may be invalid.
    named: SearchSpec | None = None
    #: All known keys; None if one of them has an invalid value.
    known: SearchSpec | None = None
    #: The whole section; None also if a key is unknown.
    whole: SearchSpec | None = None


class TooManyProblems(Exception):  # it ends a check early, and is not an error
    """Enough problems were found."""


class ProblemList(list[Problem]):
    """Problems as they are found; raises TooManyProblems after the first hundred, which people would mend first."""

    def append(self, problem: Problem) -> None:
        super().append(problem)
        if len(self) > MOST_PROBLEMS:
            raise TooManyProblems

    def __iadd__(self, problems: Iterable[Problem]) -> Self:  # type: ignore[misc, override]
        for problem in problems:  # one by one: each may take long to find
            self.append(problem)
        return self


@dataclass(slots=True)
class Draft:
    """The valid parts of a search space, and the problems found while reading it."""

    #: The path of each defined name.
    where: dict[str, str] = field(default_factory=dict)
    #: The valid definitions by name.
    definitions: dict[str, Definition] = field(default_factory=dict)
    #: The names in each parameter's condition.
    needs: dict[str, frozenset[str]] = field(default_factory=dict)
    #: The facts of the resources that expressions may name.
    facts: dict[str, ParamValue] = field(default_factory=dict)
    #: The metrics that a constraint may name.
    metrics: set[str] = field(default_factory=set)
    #: The real name of what expressions write in another way: optimizer__lr for optimizer.lr.
    written: dict[str, str] = field(default_factory=dict)
    #: The expressions that could be parsed, by path.
    expressions: dict[str, Expression] = field(default_factory=dict)
    problems: ProblemList = field(default_factory=ProblemList)
    #: The parts of all expressions so far, and their limit; None for a spec that an earlier version froze.
    parts: int = 0
    most_parts: int | None = MOST_PARTS
    search: SearchDraft = SearchDraft()
    #: The section `resources`; None if a part of it is invalid.
    resources: sections.ResourcesSpec | None = None

    @property
    def known(self) -> set[str]:
        """Returns the names that every expression may use."""
        return {*self.where, *self.facts}


def read_draft(data: Mapping[str, Any], draft: Draft) -> None:
    """Fills `draft` with the search space in `data` and the problems found while reading it."""
    draft.metrics, draft.search = _metrics(data), _search(data.get("search", {}))
    draft.resources = _resources(data.get("resources", {}))
    draft.facts = _facts(data, draft.resources)
    metrics = (*draft.metrics, *MEASURED)
    draft.written = model.written_names(_names(data.get("parameters"), data.get("conditionals")), metrics)
    _define(section(data, "parameters"), "parameters", frozenset(), draft)
    _conditionals(data.get("conditionals"), "conditionals", "", draft)
    for index, text in enumerate(entries(data.get("constraints"))):
        _parse(text, f"constraints.{index}", draft)
    for index, clause in enumerate(entries(data.get("forbidden"))):
        _forbidden(clause, f"forbidden.{index}", draft)
    for path, expression in draft.expressions.items():
        draft.problems += _unknown_names(path, expression, draft)


def section(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Returns the mapping `name` in `data`; {} if there is none."""
    value = data.get(name)
    return value if isinstance(value, dict) else {}


def entries(value: Any) -> list[Any]:
    """Returns the entries of a list; [] for any other value."""
    return list(value) if isinstance(value, list | tuple) else []


def mappings(value: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the mappings in a list, each with its path."""
    for index, entry in enumerate(entries(value)):
        if isinstance(entry, dict):
            yield f"{path}.{index}", entry


def _search(raw: Any) -> SearchDraft:
    if not isinstance(raw, dict):
        return SearchDraft()
    known = {key: raw[key] for key in raw if key in SearchSpec.model_fields}
    try:
        spec = SearchSpec.model_validate(known)
    except ValidationError:
        return SearchDraft(named=_named({key: raw[key] for key in ("algorithm", "sampler", "pruner") if key in raw}))
    return SearchDraft(spec, spec, spec if len(known) == len(raw) else None)


def _named(names: dict[str, Any]) -> SearchSpec | None:
    try:
        return SearchSpec.model_validate(names)
    except ValidationError:
        return None


def _resources(raw: Any) -> sections.ResourcesSpec | None:
    try:
        return sections.ResourcesSpec.model_validate(raw)
    except ValidationError:
        return None


def _facts(data: Mapping[str, Any], resources: sections.ResourcesSpec | None) -> dict[str, ParamValue]:
    if resources is not None:
        return resources.facts
    given = section(data, "resources")
    if not given:
        return sections.ResourcesSpec().facts
    # the names of the set facts are still known, and the checks of names need no more
    return dict.fromkeys({*sections.ResourcesSpec().facts, *(key for key in UNSET if key in given)}, 1)


def _metrics(data: Mapping[str, Any]) -> set[str]:
    objectives = [entry.get("name") for _, entry in mappings(data.get("objectives"), "")]
    sources = section(data, "trial").get("metrics")
    maps = [entry.get("map") for _, entry in mappings([sources] if isinstance(sources, dict) else sources, "")]
    mapped = [name for found in maps if isinstance(found, dict) for name in found]
    names = [name for name in (*objectives, *entries(data.get("metrics")), *mapped) if isinstance(name, str)]
    pattern = section(data, "trial").get("metric_pattern")
    try:
        return model.metric_names(names, pattern if isinstance(pattern, str) else None)
    except (re.error, RecursionError, OverflowError):
        return model.metric_names(names, None)  # the pattern has its own check


def _names(definitions: Any, conditionals: Any, levels: int = _MAX_LEVELS) -> Iterator[str]:
    yield from map(str, definitions if isinstance(definitions, dict) else ())
    for _, entry in mappings(conditionals, "") if levels >= 0 else ():
        yield from _names(entry.get("then"), entry.get("conditionals"), levels - 1)


def _conditionals(value: Any, path: str, outer: str, draft: Draft) -> None:
    if path.count("conditionals") > _MAX_LEVELS:
        draft.problems.append(Problem(path, f"is nested too deeply: at most {_MAX_LEVELS} levels"))
        return
    for place, entry in mappings(value, path):
        text = outer
        if (expression := _parse(entry.get("if"), f"{place}.if", draft)) is not None:
            text = within(outer, expression.text)
        names: frozenset[str] = frozenset()
        try:
            names = parse_expression(text, draft.written).names if text else names
        except ExpressionError as error:
            draft.problems.append(Problem(f"{place}.if", f"together with the conditions around it: {error}"))
            text = outer
        _define(section(entry, "then"), f"{place}.then", names, draft)
        _conditionals(entry.get("conditionals"), f"{place}.conditionals", text, draft)


def _define(definitions: Mapping[Any, Any], path: str, needs: frozenset[str], draft: Draft) -> None:
    for key, raw in definitions.items():
        name = str(key)
        where = f"{path}.{name}"
        if name in draft.where:
            message = f"{name} is already defined at {draft.where[name]}; rename one of the two"
            draft.problems.append(Problem(where, message))
            continue
        draft.where[name] = where
        draft.needs[name] = needs
        try:
            draft.definitions[name] = _ADAPTER.validate_python(raw)
        except ValidationError:
            continue  # the model reports it


def _parse(text: Any, path: str, draft: Draft) -> Expression | None:
    if not isinstance(text, str) or not text.strip():
        return None  # the model reports it
    try:
        expression = draft.expressions[path] = parse_expression(text, draft.written)
    except ExpressionError as error:
        draft.problems.append(Problem(path, str(error), _written_hint(text, draft)))
        return None
    draft.parts += expression.size
    if draft.most_parts is not None and draft.parts > draft.most_parts:
        what = f"the expressions up to this one have more than {MOST_PARTS} names, numbers and operators in total"
        draft.problems.append(Problem(path, what, "that is the limit; use fewer or shorter ones"))
        raise TooManyProblems
    return expression


def _forbidden(clause: Any, path: str, draft: Draft) -> None:
    if isinstance(clause, dict):
        before = len(draft.problems)
        draft.problems += value_problems(path, clause, draft)
        if not clause or len(draft.problems) > before:
            return
        clause = clause_text(clause)
    if _parse(clause, path, draft) is not None:
        try:
            parse_expression(forbidding(clause), draft.written)
        except ExpressionError as error:
            draft.problems.append(Problem(path, f"together with the `not (…)` around it: {error}"))


def value_problems(path: str, values: Mapping[Any, Any], draft: Draft) -> Iterator[Problem]:
    """Yields the problems of `values` as values of parameters: unknown names, values that a parameter cannot have."""
    for name, value in values.items():
        where = f"{path}.{name}"
        if name not in draft.where:
            real = draft.written.get(str(name))
            hint = f"write {real}" if real in draft.where else suggestion(str(name), draft.where, "parameters")
            yield Problem(where, f"{name} is not a parameter", hint)
        elif name in draft.definitions and not isinstance(value, dict | list):
            definition = draft.definitions[name]
            if not definition.parameter("", None).contains(value):
                yield Problem(where, f"{quoted(value)} {lack_of(definition)}")


def lack_of(definition: Definition) -> str:
    """Returns why a parameter cannot have a value that its definition does not contain."""
    if isinstance(definition, CategoricalDefinition):
        return f"is not one of the choices: {', '.join(map(quoted, definition.choices[:20]))}"
    what = "whole numbers" if isinstance(definition, IntDefinition) else "numbers"
    steps = "" if definition.step in (None, 1) else f" in steps of {definition.step!r}"
    return f"is outside the range: {what} from {definition.min!r} to {definition.max!r}{steps}"


def _unknown_names(where: str, expression: Expression, draft: Draft) -> Iterator[Problem]:
    may_measure = where.startswith("constraints.")
    for name in sorted(expression.names - draft.known - (draft.metrics if may_measure else set())):
        text = repr(expression.text)
        if name in UNSET and name != "ds_config":
            yield Problem(where, f"{name} is not known in {text}", f"set {UNSET[name]}")
        elif name in draft.metrics:
            yield Problem(
                where, f"{name} in {text} is a metric, known only after a trial has run", "use it in constraints"
            )
        elif may_measure:
            what = f"{name} in {text} is neither a parameter, a fact of the resources nor a metric"
            yield Problem(where, what, _metric_hint(name, expression, draft))
        else:
            what = f"{name} in {text} is neither a parameter nor a fact of the resources"
            hint = _written_hint(expression.text, draft) or name_hint(name, draft.known - {*draft.written.values()})
            yield Problem(where, what, hint)


def _written_hint(text: str, draft: Draft) -> str:
    """Returns how expressions write a name in `text` that they cannot write as it is; "" if there is none."""
    found = ((written, name) for written, name in sorted(draft.written.items()) if name in text)
    return next((f"write {written} for {name}" for written, name in found), "")


def _metric_hint(name: str, expression: Expression, draft: Draft) -> str:
    if hint := _written_hint(expression.text, draft):
        return hint
    known = draft.known | draft.metrics
    near = nearest(name, known)
    return f"did you mean {near}?" if near else f"if training reports it, declare it: metrics: [{name}]"
