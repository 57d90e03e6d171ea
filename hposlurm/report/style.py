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


class OutputFormat(StrEnum):
    """The values of `--format` for other output: for a person or for a program."""

    TABLE = "table"
    JSON = "json"


SUFFIXES = {".csv": Format.CSV, ".json": Format.JSON, ".md": Format.MARKDOWN, ".tex": Format.LATEX}
