"""Prints the output that several verbs have in common."""

from __future__ import annotations

import json
import shutil
import sys
from typing import Any, TextIO

from hposlurm.report.printable import for_screen, json_safe
from hposlurm.report.wrapping import wrapped

# As "time limits"; a longer text before a colon is a sentence
_LONGEST_LABEL = 12


def log(text: str) -> None:
    """Prints a line to stderr, for the person: notes and progress, not the requested output."""
    print(_fitted(text, sys.stderr, _indent(text)), file=sys.stderr, flush=True)


def say(text: str, indent: int | None = None) -> None:
    """Prints lines of the requested output without control characters, which names and reasons may contain.

    On a terminal long lines are broken between words, and their later parts are indented.
    """
    print(_fitted(text, sys.stdout, _indent(text) if indent is None else indent))


def complain(text: str) -> None:
    """Prints an error, which may have several lines, to stderr."""
    print(_fitted(text, sys.stderr, 2), file=sys.stderr)


def _fitted(text: str, stream: TextIO, indent: int) -> str:
    width = width_of(stream)
    return "\n".join(wrapped(line, width, indent) for line in for_screen(text).split("\n"))


def width_of(stream: TextIO) -> int | None:
    """Returns the columns of a terminal; None for a file or a pipe."""
    return shutil.get_terminal_size().columns if stream.isatty() else None


def _indent(text: str) -> int:
    """Returns the width of a label such as "note: ", so that later lines begin below the text after it."""
    label, colon, _ = text.partition(": ")
    return len(label) + len(colon) if colon and len(label) <= _LONGEST_LABEL else 2


def print_json(data: Any, *, allow_nan: bool = True) -> None:
    """Prints data for a program. Raises ValueError for a number that is not finite, unless `allow_nan`."""
    print(json_safe(json.dumps(data, indent=2, ensure_ascii=False, allow_nan=allow_nan)))
