"""The values of parameters and metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeGuard

ParamValue = float | int | str | bool | None
Params = Mapping[str, ParamValue]


def param_text(value: object) -> str:
    """Returns a value as the text that a command receives: true, false and null as in YAML, else Python's `str`.

    A float is written so that all that read commands and configuration files take it for that number.
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return float_text(value) if isinstance(value, float) else str(value)


def float_text(value: float) -> str:
    """Returns the shortest text that every reader takes for exactly this number: 1.0e-05, not Python's 1e-05.

    To YAML 1.1 (PyYAML), what has an exponent is a number only with a dot before it and a sign in it.
    """
    digits, e, exponent = float.__repr__(value).partition("e")
    return f"{digits}{'' if '.' in digits else '.0'}e{exponent}" if e else digits


def is_finite(value: object) -> TypeGuard[float]:
    """True for a finite number.

    Any other reported value is kept as text: "nan", "inf", "-inf", or the text that the training code reported.
    """
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def has_diverged(value: object) -> bool:
    """True for the text of a reported number that was not finite."""
    return value in ("nan", "inf", "-inf")
