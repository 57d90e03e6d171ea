"""Malformed files and records of every kind: no traceback, no wait, and nothing that only looks changes a file.

With HPOSLURM_EXAMPLES=80 it is 80 times as many as usual, which take about a quarter of an hour.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cli import attack
from tests.cli.attack import READ_VERBS, WRITE_VERBS, hposlurm
from tests.cli.test_attacks import LOOSE, attacked, goes, look_and_go_on, looks, runs, whole
from tests.conftest import examples

__all__ = ["runs", "whole"]

#: Seconds of this process's own work, and of waiting: a hang. The second is for machines with other work.
WORKS_S, WAITS_S = 2.0, 60.0


class HangError(BaseException):
    """Is not caught by what is tested."""


@contextlib.contextmanager
def no_hang() -> Iterator[None]:
    """Raises HangError if the body computes or waits for too long."""

    def hang(number: int, _frame: FrameType | None) -> None:
        raise HangError("waits for ever" if number == signal.SIGALRM else "computes for ever")

    before = {number: signal.signal(number, hang) for number in (signal.SIGALRM, signal.SIGPROF)}
    try:
        signal.setitimer(signal.ITIMER_PROF, WORKS_S)
        signal.setitimer(signal.ITIMER_REAL, WAITS_S)
        yield
    finally:
        for timer in (signal.ITIMER_PROF, signal.ITIMER_REAL):
            signal.setitimer(timer, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def kinds(study: Path) -> st.SearchStrategy[attack.Attack]:
    return st.one_of(
        attack.special_files(study),
        attack.computing_database(study),
        attack.damaged_journal(study),
        attack.damaged_database(study),
        attack.damaged_json(study, "*/*/*.json"),
        attack.damaged_json(study, "summary.json"),
        attack.foreign_things(study),
    )


@pytest.mark.long(60)
@settings(max_examples=examples(60), suppress_health_check=LOOSE, report_multiple_bugs=False)
@given(st.data(), looks, goes)
def test_no_malformed_file_hangs_or_crashes_a_verb(
    runs: Path, whole: Path, data: st.DataObject, look: tuple, go_on: tuple
) -> None:
    things = data.draw(st.lists(kinds(whole), min_size=1, max_size=2))
    layout = attacked(runs, whole)
    for damage in things:
        with contextlib.suppress(OSError):  # an earlier one took its folder away
            damage(layout)
    look_and_go_on(runs, look, go_on, no_hang)


@pytest.mark.parametrize("kind", ["pipe", "link to itself", "no rights"])
def test_one_foreign_study_does_not_keep_the_others_from_the_list(runs: Path, whole: Path, kind: str) -> None:
    attacked(runs, whole)
    other = runs / "other"
    (other / "waves" / "0000").mkdir(parents=True)
    plan = other / "waves" / "0000" / "wave.json"
    (other / "study.yaml").write_bytes((whole / "study.yaml").read_bytes())
    match kind:
        case "pipe":
            os.mkfifo(plan)
        case "link to itself":
            plan.symlink_to(plan)
        case _:
            plan.write_text("{}")
            other.chmod(0)
    try:
        with no_hang():
            status, out, _ = hposlurm("list")
        assert status == 0
        assert "demo" in out
    finally:
        other.chmod(0o700)
        shutil.rmtree(other)


@pytest.mark.parametrize("words", [*READ_VERBS, *WRITE_VERBS], ids=" ".join)
@pytest.mark.parametrize("name", ["study.yaml", "waves/0000/wave.json", "trials/00002/attempt-1.jsonl", "study.db"])
def test_a_pipe_in_the_place_of_a_file_blocks_no_verb(runs: Path, whole: Path, name: str, words: tuple) -> None:
    layout = attacked(runs, whole)
    (layout.root / name).unlink()
    os.mkfifo(layout.root / name)
    with no_hang():
        status, _, err = hposlurm(*words)
    assert status in (0, 1, 2), err
