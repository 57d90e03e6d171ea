"""One of several processes that use a directory at the same time, as workers and planners do. Standard library only.

`python -m hposlurm.doctor.rival DIRECTORY INDEX RIVALS` waits for the file `go`, appends, links and renames with the
very functions that hposlurm writes its records with, and prints what it saw as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from hposlurm.records.files import create_once, publish
from hposlurm.records.journal import append, open_journal

LINES, RACES, RENAMES = 20, 40, 20
_START_DEADLINE_S = 30
_WORDS = 500


def compete(directory: Path, index: int, rivals: int) -> dict[str, object]:
    """What this process won and saw; raises OSError as the file system does."""
    seen: dict[str, object] = {"won": [], "torn": 0, "backwards": 0, "stale": 0}
    fd = open_journal(directory / f"lines-{index}.jsonl")
    for line in range(LINES):
        append(fd, {"rival": index, "line": line})
    os.close(fd)
    seen["won"] = [n for n in range(RACES) if create_once(directory / f"race-{n}", f"{index}\n".encode())]
    last = -1
    for number in range(RENAMES):
        publish(directory / f"state-{index}", f"{number} ".encode() * _WORDS)
        last = _look(directory / f"state-{(index + 1) % rivals}", last, seen)
    return seen


def _look(path: Path, last: int, seen: dict[str, object]) -> int:
    """The number in a neighbour's file: all its words must agree, and never go back."""
    try:
        words = path.read_text().split()
    except FileNotFoundError:
        return last
    except OSError:  # ESTALE: replaced while it was read; a reader tries again
        seen["stale"] = int(str(seen["stale"])) + 1
        return last
    if len(words) != _WORDS or len(set(words)) != 1:
        seen["torn"] = int(str(seen["torn"])) + 1
        return last
    if int(words[0]) < last:
        seen["backwards"] = int(str(seen["backwards"])) + 1
    return int(words[0])


def main() -> None:
    directory, index, rivals = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    (directory / f"ready-{index}").touch()
    end = time.monotonic() + _START_DEADLINE_S
    while not (directory / "go").exists():
        if time.monotonic() > end:
            sys.exit("nobody said go")
        time.sleep(0.002)
    print(json.dumps(compete(directory, index, rivals)))


if __name__ == "__main__":
    main()
