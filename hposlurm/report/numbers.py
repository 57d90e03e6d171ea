"""Formats numbers for people: few digits, with units."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hposlurm.trial import ParamValue


def shown(value: ParamValue) -> str:
    """Returns `value` with four significant digits; a dash for None."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.4g}"


def duration(seconds: float | None) -> str:
    """Returns a duration as 42s, 12m03s, 1h02m or 2d03h; a dash for None."""
    if seconds is None:
        return "–"
    whole = round(max(0.0, seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"


def shorten(text: str, width: int) -> str:
    """Returns `text` cut to `width` characters, with an ellipsis if it was cut."""
    return text if len(text) <= width else f"{text[: max(0, width - 1)]}…"


def counted(number: int, noun: str) -> str:
    """Returns "1 trial", "2 trials"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def spans(numbers: Sequence[int], most: int = 8) -> str:
    """Returns ascending numbers as "0-3, 7, 9": at most `most` parts, then an ellipsis."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    parts = [str(first) if first == last else f"{first}-{last}" for first, last in runs[:most]]
    return ", ".join([*parts, *(["…"] if len(runs) > most else [])])


def size_text(count: float) -> str:
    """Returns a number of bytes in the largest unit that fits: "1.5 GB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} TB"
