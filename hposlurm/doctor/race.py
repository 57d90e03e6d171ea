"""Runs one of several processes that write to one directory, like workers and planners. Standard library only.

`python -m hposlurm.doctor.race DIRECTORY INDEX PROCESSES` waits for the file `go`, then appends, links and renames with
the functions that write hposlurm's records, and prints what it observed as JSON.
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


def compete(directory: Path, index: int, processes: int) -> dict[str, object]:
    """Returns the races that this process won, and what it observed. Raises OSError if the file system does."""
    seen: dict[str, object] = {"won": [], "torn": 0, "backwards": 0, "stale": 0}
    fd = open_journal(directory / f"lines-{index}.jsonl")
    for line in range(LINES):
        append(fd, {"process": index, "line": line})
    os.close(fd)
    seen["won"] = [n for n in range(RACES) if create_once(directory / f"race-{n}", f"{index}\n".encode())]
    last = -1
    for number in range(RENAMES):
        publish(directory / f"state-{index}", f"{number} ".encode() * _WORDS)
        last = _look(directory / f"state-{(index + 1) % processes}", last, seen)
    return seen


def _look(path: Path, last: int, seen: dict[str, object]) -> int:
    """Returns the number in another process's file. All its words must be equal, and it must never decrease."""
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
    directory, index, processes = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    (directory / f"ready-{index}").touch()
    end = time.monotonic() + _START_DEADLINE_S
    while not (directory / "go").exists():
        if time.monotonic() > end:
            sys.exit("the file `go` did not appear in time")
        time.sleep(0.002)
    print(json.dumps(compete(directory, index, processes)))


if __name__ == "__main__":
    main()
