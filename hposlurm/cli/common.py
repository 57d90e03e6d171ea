"""Prints for several verbs."""

from __future__ import annotations

import json
import sys
from typing import Any


def say(text: str) -> None:
    """Prints a line for the person (stderr): what happens, not what was asked for."""
    print(text, file=sys.stderr, flush=True)


def print_json(data: Any, *, allow_nan: bool = True) -> None:
    """Prints data for a program; without `allow_nan` a number that is not finite is an error."""
    print(json.dumps(data, indent=2, ensure_ascii=False, allow_nan=allow_nan))
