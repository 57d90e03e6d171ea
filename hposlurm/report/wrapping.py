"""Breaks text between its words for a terminal of a known width."""

from __future__ import annotations

import textwrap


def wrapped(text: str, width: int | None, indent: int = 0) -> str:
    """Returns `text` in lines of at most `width` columns, the later ones indented; a longer word stays whole.

    None stands for no limit: for a file or another program a line stays a line.
    """
    if width is None or len(text) <= width:
        return text
    lines = textwrap.wrap(text, width, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines)
