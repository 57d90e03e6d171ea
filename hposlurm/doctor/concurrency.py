"""Several processes append, link and rename in one directory at once; afterwards every line and race is counted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from hposlurm.doctor.finding import Finding, fail, ok, unknown, warn
from hposlurm.doctor.rival import LINES, RACES, RENAMES
from hposlurm.records.journal import read

RIVALS = 8
_DEADLINE_S = 60
_NAME = "concurrency"


@dataclass(frozen=True, slots=True)
class Contest:
    """What was counted after the rivals had ended; `lines` are whole ones, `winners` one number per race."""

    rivals: int
    lines: int
    winners: tuple[int, ...]
    torn: int
    backwards: int
    stale: int
    has_links: bool
    seconds: float


def concurrency(directory: Path) -> Finding:
    """Tries it in `directory`, which the caller made and removes again."""
    place = directory / "rivals"
    place.mkdir(mode=0o700)
    begin = time.monotonic()
    processes = [_start(place, index) for index in range(RIVALS)]
    try:
        if problem := _let_them_go(place, processes):
            return unknown(_NAME, problem, "a slow file system or a busy machine: try it again")
        answers = [process.communicate(timeout=_DEADLINE_S) for process in processes]
    except subprocess.TimeoutExpired:
        return fail(
            _NAME, f"{RIVALS} processes did not end in {_DEADLINE_S} s", "the file system hangs: choose another"
        )
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    errors = [
        err.strip().splitlines()[-1] for (_, err), p in zip(answers, processes, strict=True) if p.returncode and err
    ]
    if errors:
        return fail(
            _NAME, errors[0], "hposlurm's own way of writing does not work there: name another directory (--root)"
        )
    seen = [json.loads(out) for out, _ in answers]
    return judge(_count(place, seen, time.monotonic() - begin))


def _start(place: Path, index: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-P", "-m", "hposlurm.doctor.rival", str(place), str(index), str(RIVALS)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _let_them_go(place: Path, processes: list[subprocess.Popen[str]]) -> str:
    """Says go when all are there; why not, if one is missing."""
    end = time.monotonic() + _DEADLINE_S / 2
    while sum(path.name.startswith("ready-") for path in place.iterdir()) < RIVALS:
        if time.monotonic() > end:
            return f"not all of {RIVALS} processes started in time"
        if any(process.poll() for process in processes):
            break  # its error is read later
        time.sleep(0.01)
    (place / "go").touch()
    return ""


def _count(place: Path, seen: list[dict[str, object]], seconds: float) -> Contest:
    lines = sum(len(read(place / f"lines-{index}.jsonl").records) for index in range(len(seen)))
    claims = [(race, index) for index, one in enumerate(seen) for race in _numbers(one["won"])]
    winners = []
    for race in range(RACES):
        mine = [index for number, index in claims if number == race]
        content = (place / f"race-{race}").read_text().strip() if (place / f"race-{race}").exists() else ""
        winners.append(len(mine) if not mine or content in map(str, mine) else 0)
    totals = {key: sum(int(str(one[key])) for one in seen) for key in ("torn", "backwards", "stale")}
    return Contest(len(seen), lines, tuple(winners), has_links=_has_links(place), seconds=seconds, **totals)


def _numbers(value: object) -> list[int]:
    return [int(n) for n in value] if isinstance(value, list) else []


def _has_links(place: Path) -> bool:
    try:
        os.link(place / "go", place / "linked")
    except OSError:
        return False
    return True


def judge(contest: Contest) -> Finding:
    """Pure: the verdict on what was counted."""
    wrong = []
    if missing := contest.rivals * LINES - contest.lines:
        wrong.append(f"{missing} of {contest.rivals * LINES} appended lines lost or torn")
    if races := sum(winners != 1 for winners in contest.winners):
        wrong.append(f"{races} of {RACES} races without exactly one winner")
    if contest.torn:
        wrong.append(f"{contest.torn} files seen half after a rename")
    if contest.backwards:
        wrong.append(f"{contest.backwards} files seen older after a rename")
    if wrong:
        advice = "records would be lost there: name another directory (--root, HPOSLURM_RUNS)"
        return fail(_NAME, "; ".join(wrong), advice)
    found = (
        f"{contest.rivals} processes in {contest.seconds:.1f} s: {contest.lines} lines whole, "
        f"{RACES} races with one winner each, {contest.rivals * RENAMES} renames whole"
    )
    if not contest.has_links:
        return warn(_NAME, f"{found}; no hard links", "hposlurm creates exclusively instead; nothing to set")
    return ok(_NAME, found + (f"; {contest.stale} stale reads" if contest.stale else ""))
