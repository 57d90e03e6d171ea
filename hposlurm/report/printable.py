"""Makes text of programs and people safe for a terminal, for one line of a table, and for a spreadsheet."""

from __future__ import annotations

import codecs
import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar, cast

T = TypeVar("T")

# terminal control sequences: colours, cursor movements, titles
_ESCAPE = re.compile(r"\x1b(\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|[@-Z\\-_])")
# All control characters but tab and newline, the separators that some programs take for newlines, and the characters
# that turn the direction of writing. Bytes that are not UTF-8 (U+DC80…) are controls in 8-bit terminals up to 0x9f
_CONTROL = "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\udc80-\udc9f"
_CONTROLS = re.compile(f"[{_CONTROL}]")
# A control sequence that is cut is completed by the next piece of a text; longer ones are none
_LONGEST_ESCAPE = 256
_LETS_FORMULA_BEGIN = ("=", "+", "-", "@")


def printable(text: str) -> str:
    """Returns `text` as one line without control sequences, which would move the cursor or change colours.

    A progress bar overwrites its line; only its last state is kept.
    """
    if not text.isprintable():
        text = _ESCAPE.sub("", text).rstrip().rpartition("\r")[2]
        text = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(text.split())


def without_controls(text: str) -> str:
    """Returns `text` with its lines and spaces, but without control sequences and control characters.

    Each state of a progress bar becomes a line.
    """
    if text.isprintable():
        return text
    text = _ESCAPE.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROLS.sub("", text)


def for_screen(text: str) -> str:
    """Returns `text` as `without_controls` does, with escapes for bytes of file names that are not UTF-8."""
    return without_controls(text).encode(errors="backslashreplace").decode()


def printable_parts(value: T) -> T:
    """Returns frozen data with every text in it, keys included, as `printable` returns it."""
    found: Any = value
    if isinstance(value, str):
        found = value if value.isprintable() else printable(value)
    elif isinstance(value, Mapping):
        found = {printable_parts(key): printable_parts(item) for key, item in value.items()}
    elif isinstance(value, tuple | list):
        found = type(value)(map(printable_parts, value))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = {field.name: printable_parts(getattr(value, field.name)) for field in dataclasses.fields(value)}
        found = dataclasses.replace(value, **parts)
    return cast(T, found)


def cleaned(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yields a text that comes in pieces as `without_controls` does. Bytes that are not UTF-8 are passed on."""
    decoder, held = codecs.getincrementaldecoder("utf-8")("surrogateescape"), ""
    for piece in pieces:
        text = held + decoder.decode(piece)
        begin = text.rfind("\x1b", max(0, len(text) - _LONGEST_ESCAPE))
        cut = begin if begin >= 0 else len(text) - text.endswith("\r")
        held = text[cut:]
        if shown := without_controls(text[:cut]):
            yield shown.encode("utf-8", "surrogateescape")
    if rest := without_controls(held + decoder.decode(b"", final=True)):
        yield rest.encode("utf-8", "surrogateescape")


def json_safe(text: str) -> str:
    """Returns JSON with escapes for control characters, which it may contain only inside of strings."""
    return text if text.isascii() and "\x7f" not in text else _CONTROLS.sub(lambda c: f"\\u{ord(c[0]):04x}", text)


def no_formula(text: str) -> str:
    """Returns `text` with an apostrophe before it if a spreadsheet would take it for a formula, but not a number."""
    if not text.lstrip().startswith(_LETS_FORMULA_BEGIN):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text
