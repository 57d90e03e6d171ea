"""The names of the table formats, apart from what writes them: the command line needs only the names to start."""

from __future__ import annotations

from enum import StrEnum


class Format(StrEnum):
    """What `--format` takes for a table."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    MARKDOWN = "markdown"
    LATEX = "latex"


class OutputFormat(StrEnum):
    """What `--format` takes where there is no table to export: for a person or for a program."""

    TABLE = "table"
    JSON = "json"


SUFFIXES = {".csv": Format.CSV, ".json": Format.JSON, ".md": Format.MARKDOWN, ".tex": Format.LATEX}
