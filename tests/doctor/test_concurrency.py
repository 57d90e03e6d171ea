"""Processes that append, link and rename at once: really, and what is made of the counts."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from hposlurm.doctor import concurrency as module
from hposlurm.doctor import race
from hposlurm.doctor.concurrency import RaceCounts, concurrency, judge
from hposlurm.doctor.race import LINES, RACES, RENAMES, compete

GOOD = RaceCounts(8, 8 * LINES, (1,) * RACES, torn=0, backwards=0, stale=0, has_links=True, seconds=1.0)


def test_on_this_file_system_nothing_is_lost_and_every_race_has_one_winner(tmp_path):
    finding = concurrency(tmp_path)
    assert finding.verdict == "ok", finding
    assert (
        f"{8 * LINES} lines complete, {RACES} races with one winner each, {8 * RENAMES} renames complete"
        in finding.found
    )


@pytest.mark.parametrize(
    ("changes", "verdict", "part"),
    [
        ({}, "ok", "races with one winner"),
        ({"lines": 8 * LINES - 3}, "fail", "3 of 160 appended lines lost or incomplete"),
        ({"winners": (1,) * (RACES - 2) + (0, 2)}, "fail", "2 of 40 races"),
        ({"torn": 1}, "fail", "files incomplete after"),
        ({"backwards": 1}, "fail", "files older after"),
        ({"has_links": False}, "warn", "no hard links"),
        ({"stale": 2}, "ok", "2 stale reads"),
    ],
)
def test_the_verdict_on_what_was_counted(changes, verdict, part):
    finding = judge(replace(GOOD, **changes))
    assert finding.verdict == verdict and part in finding.found


def test_a_file_system_that_overwrites_instead_of_linking_is_found_out(tmp_path, monkeypatch):
    def careless(path: Path, data: bytes) -> bool:
        path.write_bytes(data)
        return True

    monkeypatch.setattr(race, "create_once", careless)
    seen = [compete(tmp_path, index, 2) for index in range(2)]
    counts = module._count(tmp_path, seen, 1.0)
    assert counts.winners == (2,) * RACES
    assert judge(counts).verdict == "fail"


def test_lines_that_are_torn_and_claims_that_are_gone_are_counted(tmp_path):
    seen = [json.loads(json.dumps(compete(tmp_path, index, 2))) for index in range(2)]
    lines = tmp_path / "lines-1.jsonl"
    lines.write_bytes(lines.read_bytes()[:-3])
    (tmp_path / "race-0").write_text("1\n")  # the first process had won it
    counts = module._count(tmp_path, seen, 1.0)
    assert (counts.lines, counts.winners[0], set(counts.winners[1:])) == (2 * LINES - 1, 0, {1})


def test_a_rename_that_shows_half_a_file_is_seen(tmp_path):
    seen: dict[str, object] = {"torn": 0, "backwards": 0, "stale": 0}
    for text, last in (("3 " * 500, -1), ("3 " * 20, 3), ("3 " * 250 + "4 " * 250, 3), ("2 " * 500, 3)):
        (tmp_path / "state").write_text(text)
        race._look(tmp_path / "state", last, seen)
    assert seen == {"torn": 2, "backwards": 1, "stale": 0}


def test_without_links_files_are_created_exclusively(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    seen = [compete(tmp_path, index, 2) for index in range(2)]
    (tmp_path / "go").touch()
    counts = module._count(tmp_path, seen, 1.0)
    assert (counts.has_links, set(counts.winners)) == (False, {1})


def test_a_directory_in_which_nothing_can_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr(
        module,
        "_start",
        lambda place, _: module.subprocess.Popen(
            ["sh", "-c", f"touch {place}/ready-$$; echo 'OSError: [Errno 122] Disk quota exceeded' >&2; exit 1"],
            stdout=module.subprocess.PIPE,
            stderr=module.subprocess.PIPE,
            text=True,
        ),
    )
    finding = concurrency(tmp_path)
    assert (finding.verdict, finding.found) == ("fail", "OSError: [Errno 122] Disk quota exceeded")
