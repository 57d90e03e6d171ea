"""The names of the output formats. They are apart from the writers, because the command line needs only the names."""

from __future__ import annotations

from enum import StrEnum


class Format(StrEnum):
    """The values of `--format` for a table."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    MARKDOWN = "markdown"
    LATEX = "latex"
    HTML = "html"
    PARQUET = "parquet"


class OutputFormat(StrEnum):
    """The values of `--format` for other output: for a person or for a program."""

    TABLE = "table"
    JSON = "json"


SUFFIXES = {
    ".csv": Format.CSV,
    ".json": Format.JSON,
    ".md": Format.MARKDOWN,
    ".tex": Format.LATEX,
    ".html": Format.HTML,
    ".parquet": Format.PARQUET,
}
#: For people: few digits, and without the columns that say the same in every row.
FOR_PEOPLE = (Format.TABLE, Format.MARKDOWN, Format.LATEX, Format.HTML)
