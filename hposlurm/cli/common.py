"""Prints the output that several verbs have in common."""

from __future__ import annotations

import json
import sys
from typing import Any

from hposlurm.report.printable import for_screen, json_safe


def log(text: str) -> None:
    """Prints a line to stderr, for the person: notes and progress, not the requested output."""
    print(for_screen(text), file=sys.stderr, flush=True)


def say(text: str) -> None:
    """Prints lines of the requested output without control characters, which names and reasons may contain."""
    print(for_screen(text))


def print_json(data: Any, *, allow_nan: bool = True) -> None:
    """Prints data for a program. Raises ValueError for a number that is not finite, unless `allow_nan`."""
    print(json_safe(json.dumps(data, indent=2, ensure_ascii=False, allow_nan=allow_nan)))
