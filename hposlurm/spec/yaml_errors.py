"""Puts the errors of PyYAML into words that say what to change in a study file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import yaml

# What PyYAML says about the place and, in brackets, about what it was reading; and what that means. {begin} is the line
# where that began; {0} what the pattern's group holds.
_MEANINGS = (
    (
        r"mapping values are not allowed",
        "a value with ': ' in it must be in quotes, and keys side by side have one indent",
    ),
    (r"found character '\\t'", "a tab cannot indent a line; use spaces"),
    (r"found character '(.)' that cannot start", "a text that begins with {0} must be in quotes"),
    (r"unexpected end of stream \(.*quoted scalar", "the quote that is opened in line {begin} is never closed"),
    (r"expected ',' or '\}', but got '\{'", "{{{{ … }}}} inside a mapping in braces must be in quotes"),
    (r"expected ',' or '\}'", "the mapping that begins with {{ in line {begin} lacks a comma or its }}"),
    (r"expected ',' or '\]'", "the list that begins with [ in line {begin} lacks a comma or its ]"),
    (r"undefined alias '(.*?)'", "a text that begins with * must be in quotes (there is no anchor &{0})"),
    (r"expected alphabetic or numeric character", "a text that begins with * or & must be in quotes"),
    (r"expected <block end>", "the indent fits no line above, or an entry with - stands among keys"),
    (r"could not find expected ':'", "a key needs a colon, and a text of several lines quotes or |"),
    (r"unknown escape character '(.*?)'", "\\{0} is not known in double quotes; use single quotes"),
    (r"expected a single document", "--- begins a second document; a study file is one"),
    (
        r"did not find expected whitespace or line break|expected chomping",
        "a text that begins with | or > must be in quotes",
    ),
)
#: A key before a mapping or list in brackets that has no colon.
OPENED = re.compile(r"\s*([A-Za-z_][\w.]*)\s*[{\[]")
_NO_SPACE = re.compile(r"\s*([A-Za-z_]\w*):[^\s:/]")
_ABOUT_COLONS = re.compile(r"mapping values are not allowed|could not find expected ':'")


def in_words(error: yaml.MarkedYAMLError, text: str) -> str:
    """Returns what is wrong with `text` and where; PyYAML's own words for an error without others."""
    said = f"{error.problem or error}" + (f" ({error.context})" if error.context else "")
    mark = error.problem_mark or error.context_mark
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    begin = error.context_mark.line + 1 if error.context_mark else 1
    if mark and _ABOUT_COLONS.search(said) and (missing := _missing(text.splitlines()[: mark.line + 1])):
        return f"{where}not YAML: {missing}"
    for pattern, meaning in _MEANINGS:
        if found := re.search(pattern, said):
            return f"{where}not YAML: {meaning.format(*found.groups(), begin=begin)}"
    return f"{where}not YAML: {said}"


def _missing(lines: list[str]) -> str:
    """Returns what is missing in the last of `lines`, or in the one before, which is read as one text with it."""
    for number, line in list(enumerate(lines, 1))[:-3:-1]:
        if found := OPENED.match(line):
            return f"a colon is missing after {found[1]} in line {number}"
        if found := _NO_SPACE.match(line):
            return f"a space is missing after {found[1]}: in line {number}"
    return ""
