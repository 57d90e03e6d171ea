"""What a live page knows of running trials and of rungs."""

from __future__ import annotations

from pathlib import Path

import pytest

from hposlurm.records.layout import StudyLayout
from hposlurm.report.live import LiveTrial, Rung
from tests.report.live_study import NOW, RUNGS, live_page_of, live_study
from tests.studies import BEGIN, SPEC, add_wave, completed, end, make_study, report, start, write_journal


def running(runs: Path, *records: dict, spec: str = RUNGS) -> LiveTrial:
    """The only running trial of a study, whose journal has these records."""
    layout = make_study(runs, spec=spec)
    add_wave(layout, [0])
    write_journal(layout, 0, [start(0, t=NOW - 500), *records])
    (found,) = live_page_of(layout).running
    return found


def test_the_curve_is_the_first_objective_and_leaves_out_what_is_not_a_number(tmp_path: Path) -> None:
    found = running(
        tmp_path,
        report(1, NOW - 400, eval_loss=2.0, other=9.0),
        report(2, NOW - 300, eval_loss="nan"),
        report(3, NOW - 200, other=8.0),
        report(4, NOW - 100, eval_loss=1.0),
    )
    assert (found.curve, found.value, found.end_step) == ((2.0, 1.0), 1.0, 9)


def test_the_end_is_expected_by_the_pace_of_its_own_reports(tmp_path: Path) -> None:
    found = running(tmp_path, report(1, NOW - 350, eval_loss=2.0), report(4, NOW - 50, eval_loss=1.0))
    assert found.left_s == 5 * 100 - 50


def test_a_report_that_is_late_is_taken_to_come_now(tmp_path: Path) -> None:
    found = running(tmp_path, report(1, NOW - 450, eval_loss=2.0), report(2, NOW - 440, eval_loss=1.0))
    assert found.left_s == 6 * 10


def test_one_report_gives_a_pace_that_includes_the_start(tmp_path: Path) -> None:
    assert running(tmp_path, report(2, NOW, eval_loss=2.0)).left_s == 7 * 250


def test_a_resumed_attempt_counts_its_own_steps_only(tmp_path: Path) -> None:
    layout = make_study(tmp_path, spec=RUNGS)
    add_wave(layout, [0])
    write_journal(layout, 0, [start(0), report(6, BEGIN + 60, eval_loss=2.0), end("interrupted", BEGIN + 70)])
    again = start(0, 1, t=NOW - 100, resumed_from="checkpoints/6")
    write_journal(layout, 0, [again, report(7, NOW, eval_loss=1.0)], 1)
    (found,) = live_page_of(layout).running
    assert (found.curve, found.left_s) == ((2.0, 1.0), 2 * 100)


def test_without_steps_the_end_is_that_of_the_completed_trials(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, range(2))
    write_journal(layout, 0, completed(0, 1.0))
    write_journal(layout, 1, [start(1, t=NOW - 600)])
    (found,) = live_page_of(layout).running
    assert (found.end_step, found.left_s) == (None, 3000)


def test_nothing_is_expected_of_the_first_trial_without_steps(tmp_path: Path) -> None:
    assert running(tmp_path, spec=SPEC).left_s is None


def test_rungs_count_who_reached_them_waits_there_and_is_on_the_way(tmp_path: Path) -> None:
    layout = live_study(tmp_path)
    assert live_page_of(layout).rungs == (Rung(1, 25, 0, 0), Rung(3, 21, 0, 4), Rung(9, 4, 0, 17))


def test_a_paused_trial_is_at_its_rung(tmp_path: Path) -> None:
    from tests.report.played import RUNGS as SEARCH
    from tests.report.played import played

    layout = StudyLayout(played(tmp_path, {"algorithm": "asha", **SEARCH}, 30)[0])
    page = live_page_of(layout)
    paused = page.progress.counts["PAUSED"]  # type: ignore[index]
    assert paused > 0 and sum(rung.paused for rung in page.rungs) == paused
    assert [rung.step for rung in page.rungs] == [1, 3, 9]
    assert page.rungs[0].reached > page.rungs[1].reached > page.rungs[2].reached > 0


def test_a_study_without_rungs_has_none(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, range(2))
    assert live_page_of(layout).rungs == ()


@pytest.mark.parametrize("running_count", [0, 3])
def test_every_running_trial_is_on_the_page(tmp_path: Path, running_count: int) -> None:
    page = live_page_of(live_study(tmp_path, running_count))
    assert [each.running.trial for each in page.running] == list(range(5, 5 + running_count))
