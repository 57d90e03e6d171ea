"""Live pages as text: recorded ones, and what holds for every size of a terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from hposlurm.records.layout import StudyLayout
from hposlurm.report.live import LivePage
from hposlurm.report.live_text import _Drawing, page_lines
from hposlurm.report.overview import StudyLine, study_lines
from hposlurm.report.overview_text import are_over, overview_lines, summaries
from hposlurm.trial import JobState
from tests.conftest import examples
from tests.report.live_study import NOW, live_page_of, live_study
from tests.studies import BEGIN, add_wave, study_of_completed

GOLDEN = Path(__file__).parent / "golden"
SIZES = [(80, 24), (80, 60), (200, 60)]


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> StudyLayout:
    return live_study(tmp_path_factory.mktemp("live"))


@pytest.fixture(scope="module")
def page(layout: StudyLayout) -> LivePage:
    return live_page_of(layout)


def text(page: LivePage, width: int, height: int, note: str = "", **options: bool) -> str:
    lines = page_lines(page, width, height, NOW, note, **options)
    return "".join(f"{line.plain.rstrip()}\n" for line in lines)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_pages_are_the_recorded_ones(page: LivePage, width: int, height: int) -> None:
    """After a wanted change: write the page shown here to tests/report/golden/."""
    found = text(page, width, height)
    path = GOLDEN / f"live-{width}x{height}.txt"
    assert found == path.read_text(encoding="utf-8"), found


@pytest.mark.parametrize(("width", "height"), [(80, 12), (120, 30)])
def test_lists_are_the_recorded_ones(lines: list[StudyLine], width: int, height: int) -> None:
    """After a wanted change: write the page shown here to tests/report/golden/."""
    found = "".join(f"{line.plain.rstrip()}\n" for line in overview_lines(lines, width, height, NOW))
    path = GOLDEN / f"list-{width}x{height}.txt"
    assert found == path.read_text(encoding="utf-8"), found


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[StudyLine]:
    runs = tmp_path_factory.mktemp("runs")
    live_study(runs)
    for number in range(9):
        layout = study_of_completed(runs, 2, f"study-{number}")
        add_wave(layout, [], finished="2 of 2 trials are done")
    return study_lines(runs, BEGIN + 4000, lambda _: None)


@given(width=st.integers(1, 220), height=st.integers(1, 80), ascii_only=st.booleans(), note=st.text(max_size=200))
def test_every_page_fits_every_terminal(page: LivePage, width: int, height: int, ascii_only: bool, note: str) -> None:
    found = page_lines(page, width, height, NOW, note, ascii_only=ascii_only)
    assert len(found) <= height
    assert all(cell_len(line.plain) <= width and "\n" not in line.plain for line in found)


@given(width=st.integers(1, 220), height=st.integers(1, 80), note=st.text(max_size=200))
def test_every_list_fits_every_terminal(lines: list[StudyLine], width: int, height: int, note: str) -> None:
    found = overview_lines(lines, width, height, NOW, note)
    assert len(found) <= height
    assert all(cell_len(line.plain) <= width and "\n" not in line.plain for line in found)


@pytest.mark.parametrize("height", [24, 30, 60])
def test_shown_trials_and_those_it_says_are_more_are_all(page: LivePage, height: int) -> None:
    found = text(page, 80, height)
    rows = [line for line in found.splitlines() if "gpu-node-" in line]
    more = [int(line.split()[2]) for line in found.splitlines() if line.endswith("more running")]
    assert len(rows) + sum(more) == 21
    assert bool(more) == (height < 60)


def test_in_ascii_there_are_no_blocks(page: LivePage) -> None:
    found = text(page, 80, 24, ascii_only=True)
    assert not set("▁▂▃▄▅▆▇█░") & set(found)
    assert "###....." in found


def test_the_last_note_is_on_the_page(page: LivePage) -> None:
    assert "\nnote      the queue did not answer\n" in text(page, 80, 24, "the queue did not answer")


def test_a_trial_whose_job_has_ended_says_so_in_the_place_of_its_curve(page: LivePage) -> None:
    first, *others = page.running
    ended = replace(first, running=replace(first.running, job_state=JobState.TIMEOUT))
    assert " job ended TIMEOUT " in text(replace(page, running=(ended, *others)), 100, 24)


def test_names_cannot_move_the_cursor(page: LivePage) -> None:
    first, *others = page.running
    evil = "n\x1b[2J\r1"
    changed = replace(first, value=evil, running=replace(first.running, node=evil))
    shown = replace(page, progress=replace(page.progress, study=evil, detail=evil), running=(changed, *others))
    found = text(shown, 80, 24, evil)
    assert all(line.isprintable() for line in found.splitlines())


FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(values=st.lists(FINITE, max_size=examples(100)), width=st.integers(0, 60))
def test_a_curve_fits_and_has_its_ends(values: list[float], width: int) -> None:
    found = _Drawing(False).spark(values, width)
    assert len(found) == (0 if width < 4 else min(len(values), width))
    if len(values) <= width >= 4 and len({*values}) > 1:
        assert (found[values.index(min(values))], found[values.index(max(values))]) == ("▁", "█")


@pytest.mark.parametrize(("used", "full"), [(0, 0), (-1, 0), (9.99, 19), (10, 20), (11, 20)])
def test_a_bar_is_full_only_at_its_end(used: float, full: int) -> None:
    assert _Drawing(False).bar(used, 10) == "█" * full + "░" * (20 - full)


def test_lines_for_logs_do_not_change_by_the_clock(lines: list[StudyLine]) -> None:
    older = [replace(line, age_s=(line.age_s or 0) + 100) for line in lines]
    assert summaries(lines) == summaries(older)
    assert summaries(lines)[1] == "study-0: finished; 2 COMPLETE; best eval_loss=1 (trial 0)"
    assert not are_over(lines)
    assert are_over([line for line in lines if line.study != "demo"])
