"""Writes a result table: for the terminal, as csv, json, parquet, Markdown, LaTeX, HTML.

csv, json and parquet are for programs: full precision, all columns. The others are for people: few digits. The terminal
shows only the columns that fit; the least important ones are dropped first, and their names are listed below the table.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len

from hposlurm.errors import RequestError
from hposlurm.report.numbers import duration, shorten, shown, spans
from hposlurm.report.printable import json_safe, printable
from hposlurm.report.rows import Row, to_csv
from hposlurm.report.style import Format
from hposlurm.report.tables import Table
from hposlurm.report.wrapping import wrapped
from hposlurm.trial import ParamValue, param_text

if TYPE_CHECKING:
    from rich.console import Console

_GAP = 2
_LONGEST_HEAD = 30
_REASONS_SHOWN = 10
_PEAKS = ("peak_gpu_gb", "peak_host_gb")


def content(table: Table, style: Format, width: int = 80, *, is_safe: bool = False) -> bytes:
    """Returns `table` as the content of a file; see `render`. Raises RequestError if a library for it is missing."""
    return _parquet(table) if style is Format.PARQUET else render(table, style, width, is_safe=is_safe).encode()


def render(table: Table, style: Format, width: int = 80, *, is_safe: bool = False) -> str:
    """Returns `table` as text that ends with a newline; `width` (in characters) matters for a terminal table only.

    `is_safe` is that of `to_csv`. Raises RequestError for parquet, which is not text.
    """
    match style:
        case Format.PARQUET:
            raise RequestError("parquet is not text: write it to a file with -o FILE.parquet")
        case Format.HTML:
            return _html(table)
        case Format.CSV:
            return to_csv(table.columns, table.rows, is_safe=is_safe)
        case Format.JSON:
            return json_safe(json.dumps(table.rows, indent=2, ensure_ascii=False, allow_nan=False)) + "\n"
        case Format.MARKDOWN:
            return _markdown(table)
        case Format.LATEX:
            return _latex(table)
        case Format.TABLE:
            return _plain(table, width)


def _plain(table: Table, width: int) -> str:
    names, hidden = fitting(table, width)
    notes = (*_reasons(table, width), *_omissions(hidden, width))
    return "\n".join([*_lines(table, names), *notes, ""])


def show(table: Table, console: Console) -> None:
    """Prints the table within the console's width. The reasons of failures are printed below it, not in a column."""
    from rich.text import Text

    names, hidden = fitting(table, console.width)
    header, *lines = _lines(table, names)
    console.print(Text(header, style="bold"), soft_wrap=True)
    console.file.write("".join(f"{line}\n" for line in lines))  # rich takes a second for two thousand rows
    for line in (*_reasons(table, console.width), *_omissions(hidden, console.width)):
        console.print(Text(line), style="dim", soft_wrap=True)


def _lines(table: Table, names: Sequence[str]) -> list[str]:
    """Returns header, rule and rows, in columns."""
    columns = [_aligned(_column(table, name), is_numeric=_is_numeric(table, name)) for name in names]
    lines = [(" " * _GAP).join(cells).rstrip() for cells in zip(*columns, strict=True)]
    rule = (" " * _GAP).join("─" * cell_len(cells[0]) for cells in columns)
    return [lines[0], rule, *lines[1:]]


def _column(table: Table, name: str) -> list[str]:
    return [_head(name), *(_cell(name, row.get(name)) for row in table.rows)]


def _aligned(cells: Sequence[str], *, is_numeric: bool) -> list[str]:
    width = max(map(cell_len, cells))
    padded = ((text, " " * (width - cell_len(text))) for text in cells)
    return [pad + text if is_numeric else text + pad for text, pad in padded]


def fitting(table: Table, width: int) -> tuple[list[str], list[str]]:
    """Returns the columns that fit into `width`, and the others; trial, state, study and first objective stay."""
    empty = [n for n in (*_PEAKS, "node", *table.metrics) if all(row.get(n) is None for row in table.rows)]
    names = [name for name in table.columns if name != "reason" and name not in empty]
    widths = {name: max(map(cell_len, _column(table, name))) for name in names}
    ends = [column for each in table.ends.values() for column in reversed(each)]
    droppable = [*_PEAKS, "node", "wave", "attempts", "step", *reversed(table.metrics), "gpu_hours", "runtime", *ends]
    droppable += [*reversed(table.params), *reversed(table.objectives[1:])]
    droppable = [name for name in droppable if name in names]
    room = width + _GAP - sum(widths[name] + _GAP for name in names if name not in droppable)
    kept = set()
    for name in reversed(droppable):  # the most important first; a narrow column may fit where a wide one did not
        if widths[name] + _GAP <= room:
            room -= widths[name] + _GAP
            kept.add(name)
    hidden = [name for name in droppable if name not in kept]
    return [name for name in names if name not in hidden], hidden


def _head(name: str) -> str:
    return shorten(printable(name), _LONGEST_HEAD)


def _cell(name: str, value: ParamValue) -> str:
    if name == "runtime" and isinstance(value, float):
        return duration(value)
    return printable(shown(value))


def _is_numeric(table: Table, name: str) -> bool:
    """True if most of the column are numbers; a diverged trial's "nan" does not make it a column of text."""
    values = [row.get(name) for row in table.rows if row.get(name) is not None]
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    return 2 * len(numbers) > len(values)


def _reasons(table: Table, width: int) -> list[str]:
    alike: dict[tuple[ParamValue, ParamValue, ParamValue], list[Row]] = {}
    for row in table.rows:
        if row.get("reason"):
            alike.setdefault((row.get("study"), row["state"], row["reason"]), []).append(row)
    groups = list(alike.items())[:_REASONS_SHOWN]
    lines = [
        wrapped(shorten(f"{_label(rows)} {state}: {reason}", 2 * width), width, 2)
        for (_, state, reason), rows in groups
    ]
    more = len(alike) - _REASONS_SHOWN
    return [*lines, f"… and {more} more reasons (--format csv)"] if more > 0 else lines


def _label(rows: Sequence[Row]) -> str:
    """Returns the trials of rows that have the same reason."""
    study = f"{rows[0]['study']} " if "study" in rows[0] else ""
    numbers = sorted(number for row in rows if isinstance(number := row["trial"], int))
    return f"{study}trial {numbers[0]}" if len(rows) == 1 else f"{study}{len(rows)} trials ({spans(numbers)})"


def _omissions(hidden: Sequence[str], width: int) -> list[str]:
    names = ", ".join(map(_head, hidden))
    text = f"not shown for lack of room: {names} (--format csv has every column)"
    return [wrapped(text, width, 2)] if hidden else []


def _header(name: str) -> str:
    return "runtime (s)" if name == "runtime" else printable(name)


def _markdown(table: Table) -> str:
    from tabulate import tabulate

    heads = [_markdown_escaped(_header(name)) for name in table.columns]
    rows = [[_markdown_escaped(printable(shown(row.get(name)))) for name in table.columns] for row in table.rows]
    sides = ["right" if _is_numeric(table, name) else "left" for name in table.columns]
    return tabulate(rows, heads, "pipe", disable_numparse=True, colalign=sides if rows else None) + "\n"


# What Markdown and HTML give a meaning within a cell; an underscore only at the edge of a word (CommonMark 0.31, 6.2)
_MARKUP = re.compile(r"[\\|`*<>\[\]~&]|(?<!\w)_|_(?!\w)")


def _markdown_escaped(text: str) -> str:
    return _MARKUP.sub(r"\\\g<0>", text)


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "–": "--",
    "…": r"\ldots{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def latex_escaped(text: str) -> str:
    """Returns `text` so that LaTeX prints it literally."""
    return "".join(_LATEX.get(character, character) for character in text)


def _latex_cell(value: ParamValue) -> str:
    text = shown(value)
    if isinstance(value, float) and "e" in text:
        mantissa, exponent = text.split("e")
        return rf"${mantissa} \times 10^{{{int(exponent)}}}$"
    return latex_escaped(printable(text))


def _html(table: Table) -> str:
    """Returns a table element; what is in its cells is escaped."""
    from tabulate import tabulate

    heads = [_header(name) for name in table.columns]
    rows = [[printable(shown(row.get(name))) for name in table.columns] for row in table.rows]
    return tabulate(rows, heads, "html", disable_numparse=True) + "\n"


def _parquet(table: Table) -> bytes:
    """Returns an Apache Parquet file. Columns of mixed types, as with a diverged trial's "nan", are numbers there."""
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise RequestError("parquet needs pyarrow, which is not installed here: pip install pyarrow") from None
    frame = table.frame
    for name in frame.columns:
        if not _is_numeric(table, name) and frame[name].dtype == object:
            frame[name] = frame[name].map(lambda value: None if value is None else param_text(value))
        elif frame[name].dtype == object:
            frame[name] = frame[name].map(lambda value: float("nan") if value is None else float(value))
    return frame.to_parquet(None, index=False)


def _latex(table: Table) -> str:
    """Returns a tabular for the booktabs package."""
    import pandas as pd

    heads = [latex_escaped(_header(name)) for name in table.columns]
    rows = [[_latex_cell(row.get(name)) for name in table.columns] for row in table.rows]
    layout = "".join("r" if _is_numeric(table, name) else "l" for name in table.columns)
    frame = pd.DataFrame(rows, columns=range(len(heads)))  # two heads may be equal, and pandas wants unique names
    return frame.to_latex(index=False, escape=False, header=heads, column_format=layout)
