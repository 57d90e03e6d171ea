"""Finds the matches of a metric pattern. As a program: for lines of stdin, in a process that can be killed.

A regular expression of a user may need longer for one line than the universe is old. The program is started by its path
and imports only the standard library. For each line of stdin it writes one line to stdout: a JSON list of the named
groups of every match, or nothing.
"""

from __future__ import annotations

import json
import os
import re
import sys
from itertools import islice

#: The named groups of each match in a line.
Groups = list[dict[str, str]]

_MOST_MATCHES, _LONGEST_GROUP = 1000, 1000


def groups(pattern: re.Pattern[str], line: str) -> Groups:
    """Returns the named groups of each match that is not empty, as far as they took part in it."""
    matches = (match for match in pattern.finditer(line) if match.end() > match.start())
    found = ({name: text[:_LONGEST_GROUP] for name, text in m.groupdict().items() if text is not None} for m in matches)
    return list(islice((names for names in found if names), _MOST_MATCHES))


def main(pattern: str) -> None:
    compiled = re.compile(pattern)
    for line in sys.stdin.buffer:
        found = groups(compiled, line.decode(errors="replace").rstrip("\n"))
        answer = json.dumps(found).encode() if found else b""
        _write(answer + b"\n")  # at once: whoever is killed at the next line has answered for this one


def _write(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


if __name__ == "__main__":
    main(sys.argv[1])
