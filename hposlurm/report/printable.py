"""Makes text of programs and people safe for a terminal and for one line of a table."""

from __future__ import annotations

import re

# terminal control sequences: colours, cursor movements, titles
_ESCAPE = re.compile(r"\x1b(\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|[@-Z\\-_])")


def printable(text: str) -> str:
    """Returns `text` as one line without control sequences, which would move the cursor or change colours.

    A progress bar overwrites its line; only its last state is kept.
    """
    if not text.isprintable():
        text = _ESCAPE.sub("", text).rstrip().rpartition("\r")[2]
        text = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(text.split())
