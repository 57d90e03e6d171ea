"""Finds out from its output and torchrun's error files if a command failed because a GPU's memory was too small."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from hposlurm.records.files import from_json
from hposlurm.records.reading import read_whole

_LONGEST = 300
# An exception that ended a process is a line of its own, after "[rank3]: " and torchrun's "[default3]:". A line that
# only mentions it, "WARNING: CUDA out of memory, trying a smaller batch", is not an end.
_OUT_OF_MEMORY = re.compile(
    r"(?:\[[^\]]*\]:? ?)*"
    r"((?:\w+\.)*OutOfMemoryError(?:: .*)?"
    r"|(?:(?:\w+\.)*\w*(?:Error|Exception): (?:.* )?|what\(\): +)?CUDA (?:error: )?out of memory.*)"
)
# One per rank that failed inside of a main function with torch's @record, wherever torchrun keeps its logs by default;
# torchrun copies the first one to the file that is named in its environment
_ERROR_FILES = "tmp/torchelastic_*/*/attempt_*/*/error.json"


def error_file(scratch: Path) -> Path:
    """The file in which torchrun leaves the error of the first failed rank."""
    return scratch / "error.json"


def out_of_gpu_memory(lines: Iterable[str], scratch: Path) -> str:
    """Returns the out-of-memory exception of any rank, from the last lines or an error file; "" if there is none."""
    found = (*lines, *(line for path in _error_files(scratch) for line in _messages(path)))
    matches = (_OUT_OF_MEMORY.fullmatch(line.strip()) for line in found)
    return next((match.group(1)[:_LONGEST] for match in matches if match), "")


def last_place(lines: Sequence[str]) -> int | None:
    """Returns the place of the last out-of-memory exception among `lines`; None if there is none."""
    found = (place for place in range(len(lines) - 1, -1, -1) if _OUT_OF_MEMORY.fullmatch(lines[place].strip()))
    return next(found, None)


def _error_files(scratch: Path) -> Iterator[Path]:
    yield error_file(scratch)
    yield from sorted(scratch.glob(_ERROR_FILES))


def _messages(path: Path) -> list[str]:
    """Returns the lines of an error file's message, which is a text or an object with a text; [] if there is none."""
    try:
        message = from_json(read_whole(path))["message"]
        text = message if isinstance(message, str) else message["message"]
        return str(text).splitlines()
    except (OSError, ValueError, KeyError, TypeError):
        return []
