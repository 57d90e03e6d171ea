"""The result table: order, columns, several studies."""

from __future__ import annotations

from pathlib import Path

import pytest

from hposlurm.errors import StudyError
from hposlurm.records.history import History, read_history
from hposlurm.records.layout import StudyLayout
from hposlurm.report.records import read_records
from hposlurm.report.tables import StudyResults, collect
from hposlurm.trial import Direction, Objective
from tests.studies import add_wave, assignment, completed, failed, make_study, start, study_of_completed, write_journal

LOSS = Objective("eval_loss")


def results(layout: StudyLayout, *objectives: Objective) -> StudyResults:
    return StudyResults(layout.root.name, read_history(layout), objectives or (LOSS,))


def mixed(tmp_path: Path, name: str = "demo") -> StudyLayout:
    layout = make_study(tmp_path, name)
    add_wave(layout, [0, 1, 2, 3, assignment(4, {"bs": 1, "lr": 0.1, "momentum": 0.9})])
    write_journal(layout, 0, failed(0))
    write_journal(layout, 1, completed(1, 2.0))
    write_journal(layout, 2, completed(2, 1.0))
    write_journal(layout, 3, [start(3)])
    return layout


def test_the_best_comes_first_and_failures_last(tmp_path: Path) -> None:
    table = collect([results(mixed(tmp_path))])
    assert [(row["trial"], row["state"]) for row in table.rows] == [
        (2, "COMPLETE"),
        (1, "COMPLETE"),
        (3, "RUNNING"),
        (4, "WAITING"),
        (0, "FAIL"),
    ]


def test_the_direction_of_the_objective_decides_what_is_best(tmp_path: Path) -> None:
    table = collect([results(mixed(tmp_path), Objective("eval_loss", Direction.MAXIMIZE))])
    assert [row["trial"] for row in table.rows][:2] == [1, 2]


def test_an_inactive_parameter_is_null(tmp_path: Path) -> None:
    table = collect([results(mixed(tmp_path))])
    assert [row["momentum"] for row in table.rows] == [None, None, None, 0.9, None]
    assert all(tuple(row) == table.columns for row in table.rows)


def test_studies_with_the_same_objectives_are_ranked_together(tmp_path: Path) -> None:
    one, two = study_of_completed(tmp_path, 2, "one"), mixed(tmp_path, "two")
    table = collect([results(one), results(two)])
    assert table.columns[:2] == ("study", "trial")
    assert [(row["study"], row["trial"], row["eval_loss"]) for row in table.rows][:4] == [
        ("one", 0, 1.0),
        ("two", 2, 1.0),
        ("one", 1, 1.5),
        ("two", 1, 2.0),
    ]
    assert table.rows[0]["momentum"] is None


def test_studies_with_other_objectives_follow_one_another(tmp_path: Path) -> None:
    one, two = study_of_completed(tmp_path, 2, "one"), study_of_completed(tmp_path, 2, "two")
    table = collect([results(one), results(two, Objective("eval_loss", Direction.MAXIMIZE))])
    assert [(row["study"], row["trial"]) for row in table.rows] == [("one", 0), ("one", 1), ("two", 1), ("two", 0)]


def test_a_study_without_trials_is_an_empty_table() -> None:
    table = collect([StudyResults("demo", History(), (LOSS,))])
    assert table.rows == ()
    assert table.columns[0] == "trial"


def test_a_frame_has_the_tables_columns_and_rows(tmp_path: Path) -> None:
    table = collect([read_records(mixed(tmp_path)).results])
    frame = table.frame
    assert tuple(frame.columns) == table.columns
    assert frame["eval_loss"].tolist()[:2] == [1.0, 2.0]
    assert frame["momentum"].isna().sum() == 4


def test_a_directory_without_a_study_has_no_results(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="not a study directory"):
        read_records(StudyLayout(tmp_path))
