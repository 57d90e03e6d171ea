"""Lets several processes append, link and rename in one directory at once, then counts the lines and races."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from hposlurm.doctor.finding import Finding, fail, ok, unknown, warn
from hposlurm.doctor.race import LINES, RACES, RENAMES
from hposlurm.records.journal import read

PROCESSES = 8
_DEADLINE_S = 60
_NAME = "concurrency"


@dataclass(frozen=True, slots=True)
class RaceCounts:
    """The counts after all processes have ended."""

    #: How many processes took part.
    processes: int
    #: Complete lines in all journals.
    lines: int
    #: How many processes created the file of each race.
    winners: tuple[int, ...]
    #: Files that were incomplete after a rename.
    torn: int
    #: Files that were older after a rename.
    backwards: int
    #: Reads that failed because the file was replaced meanwhile.
    stale: int
    #: True if the file system has hard links.
    has_links: bool
    #: The duration.
    seconds: float


def concurrency(directory: Path) -> Finding:
    """Runs the processes in `directory`, which the caller creates and removes, and returns the finding."""
    place = directory / "race"
    place.mkdir(mode=0o700)
    begin = time.monotonic()
    processes = [_start(place, index) for index in range(PROCESSES)]
    try:
        if problem := _start_race(place, processes):
            return unknown(_NAME, problem, "the file system is slow or the machine is busy: try again")
        answers = [process.communicate(timeout=_DEADLINE_S) for process in processes]
    except subprocess.TimeoutExpired:
        return fail(
            _NAME, f"{PROCESSES} processes did not end in {_DEADLINE_S} s", "the file system hangs: choose another"
        )
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    errors = [
        err.strip().splitlines()[-1] for (_, err), p in zip(answers, processes, strict=True) if p.returncode and err
    ]
    if errors:
        return fail(_NAME, errors[0], "hposlurm cannot write its records there: name another directory (--root)")
    seen = [json.loads(out) for out, _ in answers]
    return judge(_count(place, seen, time.monotonic() - begin))


def _start(place: Path, index: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-P", "-m", "hposlurm.doctor.race", str(place), str(index), str(PROCESSES)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", errors="replace")


def _start_race(place: Path, processes: list[subprocess.Popen[str]]) -> str:
    """Creates the file `go` once all processes are ready. Returns why not, or ""."""
    end = time.monotonic() + _DEADLINE_S / 2
    while sum(path.name.startswith("ready-") for path in place.iterdir()) < PROCESSES:
        if time.monotonic() > end:
            return f"not all {PROCESSES} processes started in time"
        if any(process.poll() for process in processes):
            break  # its error is read later
        time.sleep(0.01)
    (place / "go").touch()
    return ""


def _count(place: Path, seen: list[dict[str, object]], seconds: float) -> RaceCounts:
    lines = sum(len(read(place / f"lines-{index}.jsonl").records) for index in range(len(seen)))
    claims = [(race, index) for index, one in enumerate(seen) for race in _numbers(one["won"])]
    winners = []
    for race in range(RACES):
        mine = [index for number, index in claims if number == race]
        content = (place / f"race-{race}").read_text().strip() if (place / f"race-{race}").exists() else ""
        winners.append(len(mine) if not mine or content in map(str, mine) else 0)
    totals = {key: sum(int(str(one[key])) for one in seen) for key in ("torn", "backwards", "stale")}
    return RaceCounts(len(seen), lines, tuple(winners), has_links=_has_links(place), seconds=seconds, **totals)


def _numbers(value: object) -> list[int]:
    return [int(n) for n in value] if isinstance(value, list) else []


def _has_links(place: Path) -> bool:
    try:
        os.link(place / "go", place / "linked")
    except OSError:
        return False
    return True


def judge(counts: RaceCounts) -> Finding:
    """Returns the finding that follows from the counts. Pure."""
    wrong = []
    if missing := counts.processes * LINES - counts.lines:
        wrong.append(f"{missing} of {counts.processes * LINES} appended lines lost or incomplete")
    if races := sum(winners != 1 for winners in counts.winners):
        wrong.append(f"{races} of {RACES} races without exactly one winner")
    if counts.torn:
        wrong.append(f"{counts.torn} files incomplete after a rename")
    if counts.backwards:
        wrong.append(f"{counts.backwards} files older after a rename")
    if wrong:
        advice = "records would be lost there: name another directory (--root, HPOSLURM_RUNS)"
        return fail(_NAME, "; ".join(wrong), advice)
    found = (
        f"{counts.processes} processes in {counts.seconds:.1f} s: {counts.lines} lines complete, "
        f"{RACES} races with one winner each, {counts.processes * RENAMES} renames complete"
    )
    if not counts.has_links:
        return warn(_NAME, f"{found}; no hard links", "hposlurm creates exclusively instead; nothing to set")
    return ok(_NAME, found + (f"; {counts.stale} stale reads" if counts.stale else ""))
