"""On a terminal no word is broken, what is equal is said once, and what is counted has a meaning."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from hposlurm.records.assignment import Assignment
from hposlurm.records.layout import StudyLayout
from hposlurm.report.explain import StudyExplanation
from hposlurm.report.explain_text import study_text
from hposlurm.report.numbers import spans
from hposlurm.report.progress import Progress, progress
from hposlurm.report.progress_text import screen
from hposlurm.report.records import read_records
from hposlurm.report.style import Format
from hposlurm.report.tables import collect
from hposlurm.report.tables_text import render
from hposlurm.report.wrapping import wrapped
from tests.studies import BEGIN, add_wave, completed, end, failed, make_study, report, start, write_journal

REASON = "command exited with status 1: AttributeError: 'NoneType' object has no attribute 'shape'"


@given(st.lists(st.text("abc-/:'", min_size=1, max_size=30), max_size=30), st.integers(20, 100))
def test_wrapping_changes_only_the_spaces_between_words(words: list[str], width: int) -> None:
    text = wrapped(" ".join(words), width, 4)
    assert text.split() == words
    assert all(len(line) <= width or len(line.split()) == 1 for line in text.split("\n"))


def test_without_a_terminal_a_line_stays_a_line() -> None:
    assert wrapped("word " * 100, None, 4) == "word " * 100


@pytest.mark.parametrize(
    ("numbers", "text"),
    [([], ""), ([3], "3"), ([0, 1, 2, 5], "0-2, 5"), (list(range(0, 40, 2)), "0, 2, 4, 6, 8, 10, 12, 14, …")],
)
def test_trials_are_listed_in_spans(numbers: list[int], text: str) -> None:
    assert spans(numbers) == text


def failing(runs: Path, count: int) -> StudyLayout:
    layout = make_study(runs, n_trials=count + 2)
    add_wave(layout, range(count + 2))
    for number in range(count):
        write_journal(layout, number, failed(number, reason=REASON, tail=[]))
    write_journal(layout, count, failed(count, reason="out of disk", tail=[]))
    write_journal(layout, count + 1, completed(count + 1, 1.0))
    return layout


def look(layout: StudyLayout) -> Progress:
    return progress(read_records(layout), now=BEGIN + 99)


def printed(view: Progress) -> str:
    console = Console(width=80, file=io.StringIO())
    console.print(screen(view))
    assert isinstance(console.file, io.StringIO)
    return " ".join(console.file.getvalue().split())


def test_status_says_a_reason_that_24_trials_share_once(tmp_path: Path) -> None:
    text = printed(look(failing(tmp_path, 24)))
    assert text.count("AttributeError") == 1
    assert "24 trials (0-23) failed: command exited" in text
    assert "trial 24 failed: out of disk" in text


def test_collect_says_a_reason_that_24_trials_share_once(tmp_path: Path) -> None:
    text = render(collect([read_records(failing(tmp_path, 24)).results]), Format.TABLE)
    assert text.count("AttributeError") == 1
    assert f"24 trials (0-23) FAIL: {REASON}" in " ".join(text.split())
    assert "trial 24 FAIL: out of disk" in text
    assert max(len(line) for line in text.splitlines()) <= 80


def waves(layout: StudyLayout) -> str:
    return printed(look(layout)).split(" waves ")[1].split(" GPU hours ")[0]


def test_waves_are_not_counted_against_a_total_that_nobody_knows(tmp_path: Path) -> None:
    layout = make_study(tmp_path, n_trials=4)
    add_wave(layout, [0])
    write_journal(layout, 0, completed(0, 1.0))
    add_wave(layout, [1])
    assert waves(layout) == "1 done, 1 in progress; more follow"
    write_journal(layout, 1, completed(1, 1.0, wave=1))
    add_wave(layout, [2, 3])
    for number in (2, 3):
        write_journal(layout, number, completed(number, 1.0, wave=2))
    add_wave(layout, [], finished="4 of 4 trials are done")
    assert waves(layout) == "3, all done"


def test_a_finished_study_says_what_its_paused_trials_wait_for(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    paused = Assignment(0, {"bs": 1, "lr": 0.1}, "0", seed=0, command="echo", to_step=1, is_final=False)
    add_wave(layout, [paused, 1])
    write_journal(layout, 0, [start(0), report(1, eval_loss=2.0), end("complete", metrics={"eval_loss": 2.0})])
    write_journal(layout, 1, completed(1, 1.0))
    assert "PAUSED at a rung" not in printed(look(layout))
    add_wave(layout, [], finished="2 of 2 trials are done")
    said = "1 trial PAUSED at a rung: not good enough to be trained on; hposlurm gc demo deletes their checkpoints"
    assert said in printed(look(layout))


def test_a_note_of_several_waves_is_said_once() -> None:
    notes = {0: ("mode: refill",), 1: ("mode: refill", "rungs are given up"), 3: ("rungs are given up",)}
    found = StudyExplanation("demo", "auto", {}, None, notes, (), None, 0.0)
    text = study_text(found)
    assert (text.count("mode: refill"), text.count("rungs are given up")) == (1, 1)
    assert "wave 1:  rungs are given up" in text


def on_a_terminal(runs: Path, *words: str) -> str:
    """What a terminal of 80 columns is sent; stderr is one, too."""
    ours, theirs = pty.openpty()
    environ = {**os.environ, "HPOSLURM_RUNS": str(runs), "COLUMNS": "80", "TERM": "dumb", "PATH": "/nowhere"}
    command = [sys.executable, "-m", "hposlurm", *words]
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environ):
        os.close(theirs)
        found = b""
        try:
            while piece := os.read(ours, 4096):
                found += piece
        except OSError:
            pass  # the other end is closed: Linux answers EIO
    os.close(ours)
    return found.decode().replace("\r\n", "\n")


@pytest.mark.parametrize(
    "words", [["explain", "demo", "0"], ["explain", "demo"], ["collect", "demo"], ["status", "nosuch"]]
)
def test_verbs_break_no_word_on_a_terminal_of_80_columns(tmp_path: Path, words: list[str]) -> None:
    failing(tmp_path, 3)
    lines = on_a_terminal(tmp_path, *words).splitlines()
    assert lines
    assert [line for line in lines if len(line) > 80 and len(line.split()) > 1] == []


@pytest.mark.parametrize("verb", ["collect", "best", "status", "list", "explain"])
def test_the_help_names_every_format_whole(tmp_path: Path, verb: str) -> None:
    text = " ".join(on_a_terminal(tmp_path, verb, "--help").replace("│", " ").split())
    names = "table, csv, json, markdown, latex, html or parquet" if verb in ("collect", "best") else "table or json"
    assert names in text
