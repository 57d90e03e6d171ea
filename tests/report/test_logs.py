"""A log is followed until its attempt has ended, and not a line is missed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hposlurm.errors import RequestError, StudyError
from hposlurm.records.assignment import Settlement
from hposlurm.records.history import read_history
from hposlurm.records.layout import StudyLayout
from hposlurm.report.logs import choose_attempt, content, follow, log_path, without_holes
from hposlurm.trial import JobState, Outcome
from tests.studies import add_wave, end, failed, make_study, start, write_journal, write_log


@pytest.fixture
def layout(tmp_path: Path) -> StudyLayout:
    layout = make_study(tmp_path)
    add_wave(layout, range(2))
    write_journal(layout, 0, [start(0)])
    write_log(layout, 0, "one\n")
    return layout


def test_following_ends_with_the_attempt_and_has_its_last_lines(layout: StudyLayout) -> None:
    trial = read_history(layout).trial(0)
    path = log_path(layout, trial, trial.attempts[0])
    steps = iter(["two\n", "three\n", ""])

    def pause() -> None:
        with path.open("a") as file:
            file.write(next(steps))
        if path.read_text().endswith("three\n"):
            write_journal(layout, 0, [end("complete", metrics={"eval_loss": 1.0})])

    assert b"".join(follow(layout, trial, trial.attempts[0], path, pause)) == b"one\ntwo\nthree\n"


def test_following_ends_when_the_planner_settles_a_killed_attempt(layout: StudyLayout) -> None:
    trial = read_history(layout).trial(0)
    path = log_path(layout, trial, trial.attempts[0])
    settled = Settlement(0, 0, 0, "100_0", JobState.OUT_OF_MEMORY, 9.0, 2, Outcome.FAIL, "out of memory")

    def pause() -> None:
        add_wave(layout, [1], settled=[settled])

    assert b"".join(follow(layout, trial, trial.attempts[0], path, pause)) == b"one\n"


def test_a_log_may_appear_late(layout: StudyLayout) -> None:
    trial = read_history(layout).trial(0)
    path = layout.root / "late.out"

    def pause() -> None:
        path.write_text("here\n")
        write_journal(layout, 0, [end("fail")])

    assert b"".join(follow(layout, trial, trial.attempts[0], path, pause)) == b"here\n"


def test_the_last_attempt_is_chosen_unless_another_is_named(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, [0, 1], retries=1)
    write_journal(layout, 0, failed(0))
    write_journal(layout, 0, [start(0, 1)], 1)
    trial, idle = read_history(layout).trials
    assert (choose_attempt(trial, None).number, choose_attempt(trial, 0).number) == (1, 0)
    with pytest.raises(RequestError, match="trial 0 has no attempt 2; its attempts: 0, 1"):
        choose_attempt(trial, 2)
    with pytest.raises(StudyError, match="trial 1 has not started yet"):
        choose_attempt(idle, None)


def test_an_attempt_that_did_not_say_where_its_log_is_has_none(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, [0])
    write_journal(layout, 0, [start(0, log="")])
    trial = read_history(layout).trial(0)
    with pytest.raises(StudyError, match="attempt 0 of trial 0 has no record"):
        log_path(layout, trial, trial.attempts[0])


def test_what_is_not_there_is_empty(tmp_path: Path) -> None:
    assert list(content(tmp_path / "no")) == []


def test_holes_of_a_sparse_log_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("wb") as file:
        file.write(b"begin\n")
        file.seek(2**40)
        file.write(b"end\n")
    os.truncate(path, 2**41)
    text = b"".join(without_holes(path))
    assert text.replace(b"\0", b"") == b"begin\nend\n"
    assert len(text) <= 2**22
    path.write_bytes(b"")
    assert list(without_holes(path)) == []
