"""Selects rows and columns of a result table: by state, by an expression, in another order."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from hposlurm.errors import RequestError
from hposlurm.report.rows import Row
from hposlurm.report.tables import Table
from hposlurm.space.expressions import Expression, ExpressionError, parse
from hposlurm.space.names import variable
from hposlurm.trial import ParamValue, TrialState

# What tells one row from another is never hidden
_ALWAYS = ("study", "trial", "state")


@dataclass(frozen=True, slots=True)
class Selection:
    """The wanted rows and columns of a table."""

    #: names of states, in any case; () for all
    states: tuple[str, ...] = ()
    #: an expression over the columns; "" for all rows
    where: str = ""
    #: a column, "-column" for the largest first; "" for the table's own order
    sort: str = ""
    #: names of columns; () for all
    columns: tuple[str, ...] = ()


def select(table: Table, wanted: Selection) -> Table:
    """Returns the wanted rows and columns. Raises RequestError for an unknown name and for an invalid expression.

    A row without a value that the expression needs is left out; without the value to sort by it comes last.
    """
    rows: Sequence[Row] = table.rows
    if wanted.states:
        states = _states(wanted.states)
        rows = [row for row in rows if row["state"] in states]
    if wanted.where:
        condition, names = _condition(wanted.where, table)
        rows = [row for row in rows if _holds(condition, row, names)]
    if wanted.sort:
        rows = _sorted(rows, wanted.sort, table.columns)
    columns = tuple(_known(name, table.columns, "--columns") for name in wanted.columns) or table.columns
    return replace(table, rows=tuple(rows), columns=columns)


def _states(names: Collection[str]) -> set[str]:
    known = {state.value for state in TrialState}
    for name in names:
        if name.upper() not in known:
            raise RequestError(f"--state {name}: is not one of {', '.join(TrialState)}")
    return {name.upper() for name in names}


def _known(name: str, columns: Collection[str], option: str) -> str:
    if name in columns:
        return name
    raise RequestError(f"{option}: there is no column {name!r} ({_near(name, columns)}columns: {', '.join(columns)})")


def _near(name: str, columns: Collection[str]) -> str:
    from hposlurm.spec.problems import nearest

    near = nearest(name, columns)
    return f"did you mean {near}? " if near else ""


def _condition(text: str, table: Table) -> tuple[Expression, Mapping[str, str]]:
    """Returns the parsed expression, and the column that each of its names stands for (optimizer__lr: optimizer.lr)."""
    columns = table.columns
    written = {variable(column): column for column in columns} | {column: column for column in columns}
    try:
        expression = parse(text)
    except ExpressionError as error:
        raise RequestError(f"--where {text!r}: {error}") from None
    unknown = sorted(expression.names - written.keys(), key=text.find)
    if unknown:
        told = ", ".join(f"{name!r}{_instead(name, table)}" for name in unknown)
        what = "there is no column" if len(unknown) == 1 else "there are no columns"
        raise RequestError(f"--where: {what} {told}; columns: {', '.join(columns)}")
    return expression, {name: written[name] for name in expression.names}


def _instead(name: str, table: Table) -> str:
    """Returns, in brackets, what an unknown name may stand for: a text without quotes, or another column."""
    if column := next((c for c in table.columns if any(row.get(c) == name for row in table.rows)), None):
        return f' (a value of {column}: text needs quotes, "{name}")'
    near = _near(name, table.columns).strip()
    return f" ({near})" if near else ""


def _holds(condition: Expression, row: Row, names: Mapping[str, str]) -> bool:
    values = {name: row.get(column) for name, column in names.items()}
    if None in values.values():
        return False
    try:
        return bool(condition.evaluate(values))
    except ExpressionError:  # a diverged trial has a text where the others have a number
        return False


def _sorted(rows: Sequence[Row], sort: str, columns: Collection[str]) -> list[Row]:
    name = _known(sort.removeprefix("-"), columns, "--sort")
    numbers = [row for row in rows if _is_number(row.get(name))]
    texts = [row for row in rows if isinstance(row.get(name), str | bool)]
    rest = [row for row in rows if row.get(name) is None]
    is_falling = sort.startswith("-")
    numbers.sort(key=lambda row: _number(row[name]), reverse=is_falling)
    texts.sort(key=lambda row: str(row[name]), reverse=is_falling)
    return [*numbers, *texts, *rest]


def _is_number(value: ParamValue) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: ParamValue) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def without_repetition(table: Table) -> tuple[Table, dict[str, ParamValue]]:
    """Returns the table without the columns that say the same in all rows, and what these say.

    Parameters and metrics with one value are left out, columns without any value, and an objective's best and last
    value where they are the one that counts. A table of one row stays whole.
    """
    if len(table.rows) < 2:
        return table, {}
    constant = {name: table.rows[0].get(name) for name in table.columns if _is_constant(table.rows, name)}
    named = (*table.params, *table.metrics)
    told: dict[str, ParamValue] = {n: v for n, v in constant.items() if n in named and v is not None}
    empty = [name for name, value in constant.items() if value is None]
    hidden = {*told, *empty, *_repeated_ends(table)} - {*_ALWAYS, *table.objectives}
    return replace(table, columns=tuple(name for name in table.columns if name not in hidden)), told


def _is_constant(rows: Sequence[Row], name: str) -> bool:
    first = rows[0].get(name)
    return all(row.get(name) == first and type(row.get(name)) is type(first) for row in rows)


def _repeated_ends(table: Table) -> set[str]:
    """Returns the columns of best and last values that have nothing but the value that counts."""
    found = set()
    for objective, (best, step, last) in table.ends.items():
        for column in (best, last):
            if all(row.get(column) == row.get(objective) for row in table.rows):
                found.add(column)
        if all(row.get(step) in (None, row.get("step")) for row in table.rows):
            found.add(step)
    return found
