"""The results by study.db and the open trials are those by all records, in every state of a study."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hposlurm.records.layout import StudyLayout
from hposlurm.report.published import read_results
from hposlurm.report.records import read_records
from hposlurm.report.remarks import remarks
from hposlurm.report.tables import Table, collect
from tests.conftest import examples
from tests.report.test_counting_reports import BEST, trials_of
from tests.report.test_summary import ONE, TWO, Story, publish
from tests.studies import (
    BEGIN,
    add_wave,
    assignment,
    changed_database,
    completed,
    end,
    failed,
    make_study,
    report,
    start,
    study_of_completed,
    write_journal,
)


def by_all_records(layout: StudyLayout) -> Table:
    return collect([read_records(layout).results])


def check_equal(layout: StudyLayout) -> None:
    fast, slow = read_results(layout), read_records(layout)
    assert collect([fast]) == collect([slow.results])
    assert fast.remarks == remarks(slow.history, slow.spec.search)


def is_fast(layout: StudyLayout, monkeypatch: pytest.MonkeyPatch) -> bool:
    """True if the results are read without all records."""

    class AllRead(Exception):
        pass

    def refuse(*_: object, **__: object) -> None:
        raise AllRead

    with monkeypatch.context() as patch:
        patch.setattr("hposlurm.report.published.read_records", refuse)
        try:
            read_results(layout)
        except AllRead:
            return False
    return True


@settings(max_examples=examples(25), deadline=None)
@given(trials=trials_of, data=st.data())
def test_results_are_those_of_the_records(
    trials: list[Any], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    spec = data.draw(st.sampled_from([ONE, BEST, TWO]))
    layout = make_study(tmp_path_factory.mktemp("runs"), spec=spec)
    rules = ("lowest",) if spec == BEST else ()
    names = ("speed", "eval_loss") if spec == TWO else ("eval_loss",)
    add_wave(layout, range(len(trials)), retries=3, objectives=names, value_rules=rules)
    for number, (attempts, _) in enumerate(trials):
        for attempt, reports in enumerate(attempts):
            records = [report(step, BEGIN + step, **values) for step, values in reports]
            is_last = attempt == len(attempts) - 1
            last = end("complete", metrics={"eval_loss": 0.7, "speed": 2.0})
            ended = last if is_last else end("fail", reason="exit status 1", tail=["no", "memory"])
            write_journal(layout, number, [start(number, attempt), *records, ended], attempt)
    publish(layout)
    check_equal(layout)


@settings(max_examples=examples(6), deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_study_that_goes_on_has_the_same_results(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    story = Story(tmp_path_factory.mktemp("story"), seed)
    for _ in range(12):
        story.step()
        check_equal(story.layout)


def test_no_attempt_and_no_report_of_a_finished_study_is_read(tmp_path: Path) -> None:
    layout = study_of_completed(tmp_path, 3, steps=50)
    add_wave(layout, (), finished="all done")
    publish(layout)
    table = by_all_records(layout)
    for trial in layout.trials.iterdir():
        for journal in trial.iterdir():
            journal.unlink()
    change(layout, "DELETE FROM attempts")
    change(layout, "DELETE FROM reports")
    assert collect([read_results(layout)]) == table


def test_values_keep_their_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = {"flag": True, "none": None, "big": 2**70, "text": "1", "whole": 1, "number": 1.0, "ä": "ö"}
    layout = make_study(tmp_path)
    add_wave(layout, [assignment(number, params) for number in range(3)])
    write_journal(layout, 0, completed(0, 0.5))
    write_journal(layout, 1, failed(1))
    write_journal(layout, 2, [start(2), report(1, BEGIN, eval_loss="nan", f1="text"), end("fail", reason="bad")])
    publish(layout)
    assert is_fast(layout, monkeypatch)
    fast, slow = collect([read_results(layout)]), by_all_records(layout)
    assert fast == slow
    assert [{k: type(v) for k, v in row.items()} for row in fast.rows] == [
        {k: type(v) for k, v in row.items()} for row in slow.rows
    ]


def change(layout: StudyLayout, statement: str) -> None:
    with closing(changed_database(layout.database)) as connection:
        connection.execute(statement)
        connection.commit()


DAMAGES = [
    "UPDATE study SET sources = '{}'",
    "DELETE FROM study",
    "DELETE FROM results WHERE trial = 1",
    "UPDATE results SET final = 0 WHERE trial = 1",
    "UPDATE results SET state = 'GONE'",
    "UPDATE results SET params = '{'",
    "UPDATE results SET params = '[]'",
    "UPDATE results SET best = '[]'",
    'UPDATE results SET best = \'[{"value": "low"}]\'',
    "UPDATE results SET last = '{\"eval_loss\": null}'",
    "UPDATE results SET step = 'last'",
    "UPDATE results SET tail = '[1]'",
    "UPDATE results SET gpu_hours = 'many'",
    "UPDATE objective_values SET value = 'low'",
    "INSERT INTO objective_values VALUES (1, 1, 'more', 0.5)",
    "DROP TABLE objective_values",
    "PRAGMA user_version = 9",
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_database_that_does_not_fit_is_not_used(damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = study_of_completed(tmp_path, 3)
    publish(layout)
    assert is_fast(layout, monkeypatch)
    change(layout, damage)
    assert not is_fast(layout, monkeypatch)
    check_equal(layout)


@pytest.mark.parametrize("view", ["results", "objective_values", "study"])
def test_a_view_is_not_asked(view: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = study_of_completed(tmp_path, 2)
    publish(layout)
    change(layout, f"ALTER TABLE {view} RENAME TO hidden")
    change(layout, f"CREATE VIEW {view} AS SELECT * FROM hidden")
    assert not is_fast(layout, monkeypatch)


def without_database(layout: StudyLayout) -> None:
    layout.database.unlink()


def published_twice(layout: StudyLayout) -> tuple[bytes, bytes]:
    """Returns the database and the summary that were published before the last trial ended; newer ones are there."""
    journal = layout.trial(2).journal(0)
    whole = journal.read_bytes()
    journal.write_bytes(whole.splitlines(keepends=True)[0])
    layout.database.unlink(missing_ok=True)
    publish(layout)
    old = layout.database.read_bytes(), layout.summary.read_bytes()
    journal.write_bytes(whole)
    publish(layout)
    return old


def of_an_earlier_publication(layout: StudyLayout) -> None:
    database, _ = published_twice(layout)
    layout.database.chmod(0o600)
    layout.database.write_bytes(database)


def without_a_summary(layout: StudyLayout) -> None:
    layout.summary.unlink()


def of_another_plan(layout: StudyLayout) -> None:
    data = json.loads(layout.wave(0).plan.read_text())
    data["retries"] = 7
    layout.wave(0).plan.chmod(0o600)
    layout.wave(0).plan.write_text(json.dumps(data))


@pytest.mark.parametrize("story", [without_database, of_an_earlier_publication, without_a_summary, of_another_plan])
def test_all_records_are_read_where_the_files_do_not_fit_together(
    story: Callable[[StudyLayout], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = study_of_completed(tmp_path, 3)
    publish(layout)
    story(layout)
    assert not is_fast(layout, monkeypatch)
    check_equal(layout)


def test_a_newer_database_than_the_summary_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = study_of_completed(tmp_path, 3)
    _, summary = published_twice(layout)
    layout.summary.write_bytes(summary)
    assert is_fast(layout, monkeypatch)
    check_equal(layout)
