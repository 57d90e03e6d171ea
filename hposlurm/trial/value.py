"""The values of parameters and metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeGuard

ParamValue = float | int | str | bool | None
Params = Mapping[str, ParamValue]


def param_text(value: object) -> str:
    """Returns a value as the text that a command receives: true, false and null as in YAML, else Python's `str`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def is_finite(value: object) -> TypeGuard[float]:
    """True for a finite number.

    Any other reported value is kept as text: "nan", "inf", "-inf", or the text that the training code reported.
    """
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def has_diverged(value: object) -> bool:
    """True for the text of a reported number that was not finite."""
    return value in ("nan", "inf", "-inf")
