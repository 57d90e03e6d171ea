"""Reads trials of other studies as observations, from a study's directory or a table as `collect -o` writes it."""

from __future__ import annotations

import csv
import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from hposlurm.decisions.observe import observe
from hposlurm.errors import RequestError
from hposlurm.records.history import read_history
from hposlurm.records.layout import StudyLayout
from hposlurm.search import Observation
from hposlurm.space import CategoricalParameter, IntParameter, Parameter, SearchSpace
from hposlurm.trial import Objective, ParamValue, TrialState, is_finite, param_text

Found = tuple[list[Observation], Counter[str]]

_NOT_COMPLETED = "not completed"
_LARGEST_FIELD = 1_000_000  # characters; a reason may exceed the csv module's default of 131,072


def read_study(layout: StudyLayout, objectives: Sequence[Objective]) -> Found:
    """Returns the trials with a value for each of `objectives`, and counts why others were left out.

    The objectives need not be those of the study. A trial that was stopped early, or waits for a promotion, is PRUNED
    with its last values.
    """
    found: list[Observation] = []
    left_out: Counter[str] = Counter()
    for seen in observe(read_history(layout), objectives):
        if seen.values is None and seen.state is not TrialState.COMPLETE:
            left_out[_NOT_COMPLETED] += 1
        elif (values := _values(seen.metrics, objectives, left_out)) is not None:
            state = TrialState.COMPLETE if seen.state is TrialState.COMPLETE else TrialState.PRUNED
            found.append(replace(seen, values=values, state=state, attrs={}, to_step=None, is_open=False))
    return found, left_out


def read_csv(path: Path, where: str, space: SearchSpace, objectives: Sequence[Objective]) -> Found:
    """Returns the completed trials of the table at `path`; without a column `state` every row with values is one.

    `where` is the key of the study file that names it. Raises RequestError if it is not such a table.
    """
    header, rows = _table(path, where)
    for objective in objectives:
        if objective.metric not in header and f"metric.{objective.metric}" not in header:
            near = difflib.get_close_matches(objective.metric, header, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(header[:20])}"
            raise RequestError(f"{where}: {path} has no column {objective.metric}; {hint}")
    found: list[Observation] = []
    left_out: Counter[str] = Counter()
    for number, row in enumerate(rows):
        numbers = {name.removeprefix("metric."): _number(text) for name, text in row.items()}
        metrics = {name: value for name, value in numbers.items() if value is not None}
        if row.get("state", TrialState.COMPLETE) != TrialState.COMPLETE:
            left_out[_NOT_COMPLETED] += 1
        elif (values := _values(metrics, objectives, left_out)) is not None:
            params = _params(space, row)
            found.append(Observation(number, params, TrialState.COMPLETE, values, metrics=metrics))
    return found, left_out


def _values(
    metrics: Mapping[str, float], objectives: Iterable[Objective], left_out: Counter[str]
) -> tuple[float, ...] | None:
    values = []
    for objective in objectives:
        if objective.metric not in metrics:
            left_out[f"without {objective.metric}"] += 1
            return None
        values.append(metrics[objective.metric])
    return tuple(values)


def _table(path: Path, where: str) -> tuple[list[str], list[dict[str, str]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            csv.field_size_limit(_LARGEST_FIELD)
            reader = csv.DictReader(file, restval="")
            rows = [{name: text for name, text in row.items() if isinstance(name, str)} for row in reader]
            return list(reader.fieldnames or ()), rows
    except OSError as error:
        raise RequestError(f"{where}: {path} cannot be read: {error.strerror or error}") from None
    except (csv.Error, ValueError) as error:
        raise RequestError(f"{where}: {path} is not a table of comma-separated values: {error}") from None


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if is_finite(value) else None


def _params(space: SearchSpace, row: Mapping[str, str]) -> dict[str, ParamValue]:
    """Returns the values in a row; an empty cell is an inactive parameter, or the choice null or the empty text."""
    params: dict[str, ParamValue] = {}
    for parameter in space.parameters:
        column = f"param.{parameter.name}" if f"param.{parameter.name}" in row else parameter.name
        if column in row and space.is_active(parameter, params):
            value = _read(parameter, row[column])
            if value is not None or (row[column] == "" and parameter.contains(None)):
                params[parameter.name] = value
    return params


def _read(parameter: Parameter, text: str) -> ParamValue:
    """Returns the value that `text` stands for, or None; the text of a choice may differ: 1e-4 for 0.0001."""
    number = _number(text)
    if isinstance(parameter, CategoricalParameter):
        equal = [c for c in parameter.choices if c is not None and text in (str(c), param_text(c))]
        is_number = (c for c in parameter.choices if isinstance(c, int | float) and not isinstance(c, bool))
        equal += [choice for choice in is_number if choice == number]
        return equal[0] if equal else text or None
    if isinstance(parameter, IntParameter) and number is not None and number.is_integer():
        return int(number)
    return number
