"""Reads trials of other studies as observations, from a study's directory or a table as `collect -o` writes it."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from hposlurm.decisions.observe import observe
from hposlurm.decisions.result_table import ResultTable, read_table
from hposlurm.errors import RequestError
from hposlurm.records.history import read_history
from hposlurm.records.layout import StudyLayout
from hposlurm.records.thinning import Needed
from hposlurm.records.values import counted_value
from hposlurm.search import Observation
from hposlurm.space import CategoricalParameter, IntParameter, Parameter, SearchSpace
from hposlurm.trial import Objective, ParamValue, Trial, TrialState, param_text

Found = tuple[list[Observation], Counter[str]]

_NOT_COMPLETED = "not completed"
_TOO_LONG = "with more cells than columns"
# Of `collect` (where a name is taken), MLflow, Optuna and Ray or W&B. What is marked as a parameter is one.
_PARAM_PREFIXES = ("param.", "params.", "params_", "config/", "config.", "")
_METRIC_PREFIXES = ("metric.", "metrics.", "metrics/", "summary.", "")
# W&B's interface writes State, its API state; MLflow's interface Status, its API status; Ray has none, but `done`
_STATE_COLUMNS = ("state", "status")
# In small letters: of hposlurm and Optuna, W&B and MLflow, Ray
_FINISHED = frozenset({"complete", "completed", "finished", "terminated"})
_LONGEST_WORD = 30
_MOST_REASONS = 10


def read_study(layout: StudyLayout, objectives: Sequence[Objective]) -> Found:
    """Returns the trials with a value for each of `objectives`, and counts why others were left out.

    The objectives need not be those of the study. A trial that was stopped early, or waits for a promotion, is PRUNED
    with its last values.
    """
    found: list[Observation] = []
    left_out: Counter[str] = Counter()
    needed = Needed(metrics=tuple(objective.metric for objective in objectives))
    history = read_history(layout, needed=needed)
    for trial, seen in zip(history.trials, observe(history, objectives), strict=True):
        if seen.values is None and seen.state is not TrialState.COMPLETE:
            left_out[_NOT_COMPLETED] += 1
        elif (values := _values(_counted(trial, objectives), objectives, left_out)) is not None:
            state = TrialState.COMPLETE if seen.state is TrialState.COMPLETE else TrialState.PRUNED
            found.append(replace(seen, values=values, state=state, attrs={}, to_step=None, is_open=False))
    return found, left_out


def _counted(trial: Trial, objectives: Sequence[Objective]) -> dict[str, float]:
    found = {o.metric: counted_value(trial.attempts, o.metric, o.rule) for o in objectives}
    return {name: counted.value for name, counted in found.items() if counted is not None}


def read_csv(
    path: Path, where: str, space: SearchSpace, objectives: Sequence[Objective], columns: Mapping[str, str]
) -> tuple[list[Observation], Counter[str], str]:
    """Returns the finished trials of the table at `path`, counts why others were left out, and how it was read.

    `columns` gives the columns of names that have another one in the table. `where` is the key of the study file that
    names the table. Without a column for the state every row with values is a finished trial. Raises RequestError if it
    is not such a table.
    """
    metrics = [objective.metric for objective in objectives]
    wanted = [*columns.values(), *(f"{prefix}{name}" for name in metrics for prefix in _METRIC_PREFIXES)]
    wanted += [f"{prefix}{name}" for name in space.names for prefix in _PARAM_PREFIXES]
    table = read_table(path, where, wanted)
    _check_columns(columns, [*metrics, *space.names], table, f"{where.removesuffix('.csv')}.columns", path)
    places = {name: _column(table, name, _METRIC_PREFIXES, columns) for name in metrics}
    for name, place in places.items():
        if place is None:
            raise RequestError(f"{where}: {path} has no column {name}; {_hint(name, table.header)}")
    own = {name: place for name in space.names if (place := _column(table, name, _PARAM_PREFIXES, columns)) is not None}
    found: list[Observation] = []
    left_out: Counter[str] = Counter({_TOO_LONG: table.too_long} if table.too_long else {})
    for number, row in enumerate(table.rows):
        if reason := _unfinished(row, left_out):
            left_out[reason] += 1
            continue
        numbers = {_plain(name): table.number(text) for name, text in row.items()}
        numbers.update({name: table.number(row[place]) for name, place in places.items() if place is not None})
        known = {name: value for name, value in numbers.items() if value is not None}
        if (values := _values(known, objectives, left_out)) is not None:
            params = _params(space, {name: row[place] for name, place in own.items()}, table)
            found.append(Observation(number, params, TrialState.COMPLETE, values, metrics=known))
    return found, left_out, table.read_as


def _check_columns(
    columns: Mapping[str, str], names: Sequence[str], table: ResultTable, where: str, path: Path
) -> None:
    for name, column in columns.items():
        if name not in names:
            known = ", ".join(names[:20])
            raise RequestError(f"{where}.{name}: this study has no objective or parameter {name}; it has {known}")
        if column not in table.header:
            raise RequestError(f"{where}.{name}: {path} has no column {column}; {_near(column, table.header)}")


def _column(table: ResultTable, name: str, prefixes: Sequence[str], columns: Mapping[str, str]) -> str | None:
    """Returns the column of a parameter or a metric; None if the table has none."""
    candidates = [columns[name]] if name in columns else [f"{prefix}{name}" for prefix in prefixes]
    return next((candidate for candidate in candidates if candidate in table.header), None)


def _plain(column: str) -> str:
    prefix = next((prefix for prefix in _METRIC_PREFIXES if prefix and column.startswith(prefix)), "")
    return column.removeprefix(prefix)


def _hint(name: str, header: Sequence[str]) -> str:
    """Returns how to name the column; Optuna calls the one objective `value`, several of them values_0, values_1, …"""
    guess = next((column for column in header if column in ("value", "values_0")), None)
    if guess is not None and not difflib.get_close_matches(name, header, n=1):
        return f"if its column is {guess}, add columns: {{{name}: {guess}}}"
    return f"{_near(name, header)} (another column: columns: {{{name}: COLUMN}})"


def _near(name: str, header: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, header, n=1)
    return f"did you mean {near[0]}?" if near else f"it has {', '.join(header[:20])}"


def _unfinished(row: Mapping[str, str], left_out: Mapping[str, int]) -> str:
    """Returns why the trial of a row did not finish, in the word of the program that wrote it; "" if it did."""
    column = next((name for name in row if name.lower() in _STATE_COLUMNS), None)
    if column is None:
        return "not done" if row.get("done", "true").lower() in ("false", "0") else ""
    word = row[column].lower()
    if word in _FINISHED:
        return ""
    reason = "".join(filter(str.isprintable, word))[:_LONGEST_WORD] or "without a state"
    return reason if reason in left_out or len(left_out) < _MOST_REASONS else "in other states"


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


def _params(space: SearchSpace, cells: Mapping[str, str], table: ResultTable) -> dict[str, ParamValue]:
    """Returns the values in a row; an empty cell is an inactive parameter, or the choice null or the empty text."""
    params: dict[str, ParamValue] = {}
    for parameter in space.parameters:
        name = parameter.name
        if name in cells and space.is_active(parameter, params):
            value = _read(parameter, cells[name], table)
            if value is not None or (cells[name] == "" and parameter.contains(None)):
                params[name] = value
    return params


def _read(parameter: Parameter, text: str, table: ResultTable) -> ParamValue:
    """Returns the value that `text` stands for, or None; the text of a choice may differ: 1e-4 for 0.0001."""
    number = table.number(text)
    if isinstance(parameter, CategoricalParameter):
        equal = [c for c in parameter.choices if c is not None and text in (str(c), param_text(c))]
        equal += [c for c in parameter.choices if isinstance(c, bool) and text.lower() == param_text(c)]
        is_number = (c for c in parameter.choices if isinstance(c, int | float) and not isinstance(c, bool))
        equal += [choice for choice in is_number if choice == number]
        return equal[0] if equal else text or None
    if isinstance(parameter, IntParameter) and number is not None and number.is_integer():
        return int(number)
    return number
