"""Whether a command failed because a GPU's memory was too small: what its output and torchrun's error files say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from hposlurm.records.files import from_json

_LONGEST = 300
# What prints it is an exception that ended a process, as a line of its own, behind "[rank3]: " and torchrun's
# "[default3]:". A line that only mentions it, "WARNING: CUDA out of memory, trying a smaller batch", is no end.
_OUT_OF_MEMORY = re.compile(
    r"(?:\[[^\]]*\]:? ?)*"
    r"((?:\w+\.)*OutOfMemoryError(?:: .*)?"
    r"|(?:(?:\w+\.)*\w*(?:Error|Exception): (?:.* )?|what\(\): +)?CUDA (?:error: )?out of memory.*)"
)
# One per rank that failed inside of a main function with torch's @record, wherever torchrun keeps its logs by default;
# torchrun copies the first one to the file that is named in its environment
_ERROR_FILES = "tmp/torchelastic_*/*/attempt_*/*/error.json"


def error_file(scratch: Path) -> Path:
    """Where torchrun is to leave what the first failed rank said."""
    return scratch / "error.json"


def out_of_gpu_memory(lines: Iterable[str], scratch: Path) -> str:
    """The exception that says so, of any rank, from the output's last lines or an error file; "" if there is none."""
    said = (*lines, *(line for path in _error_files(scratch) for line in _messages(path)))
    matches = (_OUT_OF_MEMORY.fullmatch(line.strip()) for line in said)
    return next((match.group(1)[:_LONGEST] for match in matches if match), "")


def _error_files(scratch: Path) -> Iterator[Path]:
    yield error_file(scratch)
    yield from sorted(scratch.glob(_ERROR_FILES))


def _messages(path: Path) -> list[str]:
    """The lines of an error file's message, which is a text or an object with a text; [] if there is none."""
    try:
        message = from_json(path.read_bytes())["message"]
        text = message if isinstance(message, str) else message["message"]
        return str(text).splitlines()
    except (OSError, ValueError, KeyError, TypeError):
        return []
