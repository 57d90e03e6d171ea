"""Reads a table of results, whichever program wrote it: finds its separator, its encoding and decimal commas."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hposlurm.errors import RequestError
from hposlurm.trial import is_finite

_LARGEST_FIELD = 1_000_000  # characters; a reason may exceed the csv module's default of 131,072
_LARGEST_FILE = 200 * 2**20  # bytes; a million trials of twenty columns
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
# UTF-32's mark begins with UTF-16's
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DECIMAL_COMMA = re.compile(r"[-+]?(?:\d+|\d{1,3}(?:\.\d{3})+),\d+(?:[eE][-+]?\d+)?")
_FIRST_LINE = re.compile(r"sep=(.)\r?\n")  # Excel writes and reads it


@dataclass(frozen=True, slots=True)
class ResultTable:
    """The cells of a table, without the spaces around them."""

    header: tuple[str, ...]
    rows: tuple[Mapping[str, str], ...]
    #: How many rows have more cells than the header, so that it is not known which cell is which.
    too_long: int
    #: True if 0,51 stands for 0.51.
    has_decimal_commas: bool
    #: How the file had to be read, if not as usual: "separated by semicolons, with decimal commas".
    read_as: str

    def number(self, text: str) -> float | None:
        """Returns the finite number that a cell contains; None if it contains none."""
        if self.has_decimal_commas and _DECIMAL_COMMA.fullmatch(text):
            text = text.replace(".", "").replace(",", ".")
        try:
            value = float(text)
        except ValueError:
            return None
        return value if is_finite(value) else None


def read_table(path: Path, where: str, wanted: Iterable[str]) -> ResultTable:
    """Reads the table at `path`. The separator is that which makes most of the `wanted` columns appear.

    `where` is the key of the study file that names it. Raises RequestError if it cannot be read.
    """
    text, encoding = _decoded(_content(path, where), path, where)
    first = _FIRST_LINE.match(text)
    text = text[first.end() :] if first else text
    if not text.strip():
        raise RequestError(f"{where}: {path} is empty; it must begin with a line of column names")
    try:
        separator = first.group(1) if first else _separator(text, set(wanted))
        header, *rows = list(_reader(text, separator))
    except csv.Error as error:
        raise RequestError(f"{where}: {path} is not a table of comma-separated values: {error}") from None
    names = tuple(_plain(cell) for cell in header)
    cells = [[_plain(cell) for cell in row] for row in rows if any(cell.strip() for cell in row)]
    fitting = [row for row in cells if len(row) <= len(names)]
    has_commas = separator != "," and any(_DECIMAL_COMMA.fullmatch(cell) for row in fitting for cell in row)
    return ResultTable(
        header=names,
        rows=tuple({**dict.fromkeys(names, ""), **dict(zip(names, row, strict=False))} for row in fitting),
        too_long=len(cells) - len(fitting),
        has_decimal_commas=has_commas,
        read_as=_read_as(encoding, separator, has_commas=has_commas),
    )


def _plain(cell: str) -> str:
    """Returns a cell's text without the apostrophe that published tables have before what looks like a formula."""
    text = cell.strip()
    return text[1:] if text[:1] == "'" and text[1:2] in ("=", "+", "-", "@") else text


def _content(path: Path, where: str) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise RequestError(f"{where}: {path} is not a file")
        with path.open("rb") as file:
            data = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise RequestError(f"{where}: {path} cannot be read: {error.strerror or error}") from None
    if len(data) > _LARGEST_FILE:
        raise RequestError(f"{where}: {path} has more than {_LARGEST_FILE >> 20} MiB; leave out rows or columns")
    return data


def _decoded(data: bytes, path: Path, where: str) -> tuple[str, str]:
    """Returns the text and its encoding. Without a mark it is UTF-8, or UTF-16 if every second byte is 0."""
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in data[:2]:
        encoding = "utf-16-le" if data[1:2] == b"\0" else "utf-16-be"
    try:
        return data.decode(encoding), encoding
    except UnicodeDecodeError as error:
        place = f"byte {error.start} is not {encoding.upper()}"
        raise RequestError(
            f"{where}: {path} is not a table of comma-separated values: {place}; save it as UTF-8 (Excel: CSV UTF-8)"
        ) from None


def _separator(text: str, wanted: set[str]) -> str:
    """Returns the separator of most wanted columns, then of most columns; a comma if that leaves a choice."""

    def columns(separator: str) -> tuple[int, int]:
        header = [cell.strip() for cell in next(_reader(text, separator))]
        return len(wanted & {*header}), len(header)

    return max(_SEPARATORS, key=columns)


def _reader(text: str, separator: str) -> Iterator[Sequence[str]]:
    csv.field_size_limit(_LARGEST_FIELD)
    return csv.reader(io.StringIO(text, newline=""), delimiter=separator)


def _read_as(encoding: str, separator: str, *, has_commas: bool) -> str:
    parts = [encoding.upper().removesuffix("-LE").removesuffix("-BE")] if encoding not in ("utf-8", "utf-8-sig") else []
    if separator != ",":
        parts.append(f"separated by {_SEPARATORS.get(separator, repr(separator))}")
    return ", ".join([*parts, *(["with decimal commas"] if has_commas else [])])
