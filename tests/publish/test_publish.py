"""What is published can be deleted and comes back the same; readers never see half of it."""

from __future__ import annotations

import csv
import errno
import importlib
import inspect
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hposlurm.errors import StudyError
from hposlurm.publish import Published, publish_files, rebuild
from hposlurm.records import files
from hposlurm.records.assignment import Settlement
from hposlurm.records.history import read_history
from hposlurm.records.layout import StudyLayout
from hposlurm.records.publications import Publication, Sent, forget, write_publication
from hposlurm.spec.publishing import PUBLISHERS
from hposlurm.trial import JobState, Outcome
from tests.studies import (
    BEGIN,
    add_wave,
    assignment,
    completed,
    end,
    failed,
    make_study,
    publish,
    report,
    spec_publishing,
    start,
    write_journal,
)


@pytest.fixture
def layout(tmp_path: Path) -> StudyLayout:
    """Two waves: completed, failed, out of memory, never started, running, waiting; a resumed attempt."""
    layout = make_study(tmp_path)
    add_wave(layout, range(4), retries=1)
    write_journal(layout, 0, completed(0, 1.5, steps=2, f1=0.5))
    write_journal(layout, 1, failed(1, reason="no, \x1b[31mreally\x1b[0m"))
    write_journal(layout, 2, [start(2), report(1, BEGIN + 9, eval_loss="nan", note="é")])
    settled = [
        Settlement(2, 0, 0, "100_2", JobState.OUT_OF_MEMORY, 1800.0, 2, Outcome.FAIL, "out of memory"),
        Settlement(3, None, 0, "100_3", JobState.NODE_FAIL, 36.0, 2, Outcome.INTERRUPTED, "its node failed"),
    ]
    again = [1, 2, 3, assignment(4, {"bs": 1, "lr": 1e-5, "momentum": 0.9}), assignment(5, {"bs": 2**70, "lr": None})]
    add_wave(layout, again, settled=settled, retries=1)
    write_journal(layout, 1, [start(1, 1, 1, 0), report(2, BEGIN + 11, eval_loss=1.25), end("interrupted")], 1)
    write_journal(layout, 1, [start(1, 2, 1, 0, resumed_from="c/2"), report(2, BEGIN + 21, eval_loss=1.0)], 2)
    return layout


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def query(layout: StudyLayout, statement: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(layout.database)) as connection:
        return connection.execute(statement).fetchall()


def published(layout: StudyLayout) -> tuple[list[str], bytes, bytes]:
    return dump(layout.database), layout.results.read_bytes(), layout.reports.read_bytes()


def test_rebuilding_gives_byte_for_byte_the_same_rows(layout: StudyLayout) -> None:
    publish(layout)
    first = published(layout)
    publish(layout)  # from its own database
    assert published(layout) == first
    layout.database.write_bytes(b"damaged")
    layout.results.unlink()
    layout.reports.write_text("damaged")
    assert rebuild(layout, spec_publishing(layout)) == read_history(layout)
    assert published(layout) == first


def test_rebuilding_removes_what_is_no_longer_published(layout: StudyLayout) -> None:
    publish(layout)
    rebuild(layout, spec_publishing(layout, "csv"))
    assert (layout.database.exists(), layout.results.exists()) == (False, True)


def test_rebuilding_from_damaged_plans_deletes_nothing(layout: StudyLayout) -> None:
    publish(layout)
    before = published(layout)
    layout.wave(1).plan.write_text("{")
    with pytest.raises(StudyError):
        rebuild(layout, spec_publishing(layout))
    assert published(layout) == before


def test_publishing_leaves_no_temporary_files(layout: StudyLayout) -> None:
    before = {p.name for p in layout.root.iterdir()}
    publish(layout)
    assert {p.name for p in layout.root.iterdir()} - before == {
        "study.db",
        "results.csv",
        "reports.csv",
        "summary.json",
    }


def test_a_reader_of_the_old_database_is_not_disturbed(layout: StudyLayout) -> None:
    publish(layout)
    with closing(sqlite3.connect(f"file:{layout.database}?immutable=1&mode=ro", uri=True)) as connection:
        write_journal(layout, 4, [start(4, 0, 1, 3)])
        publish(layout)
        assert connection.execute("SELECT state FROM results WHERE trial = 4").fetchall() == [("WAITING",)]
    assert query(layout, "SELECT state FROM results WHERE trial = 4") == [("RUNNING",)]


def test_the_database_answers_in_sql(layout: StudyLayout) -> None:
    publish(layout)
    assert query(layout, "SELECT state, count(*) FROM results GROUP BY state ORDER BY state") == [
        ("COMPLETE", 1),
        ("RUNNING", 1),
        ("WAITING", 4),
    ]
    assert query(layout, "SELECT name, value FROM objective_values") == [("eval_loss", 1.5)]
    assert query(layout, "SELECT name, value FROM parameters WHERE trial = 4 ORDER BY name") == [
        ("bs", 1),
        ("lr", 1e-5),
        ("momentum", 0.9),
    ]
    assert query(layout, "SELECT name, value FROM parameters WHERE trial = 5") == [("bs", str(2**70)), ("lr", None)]
    assert query(layout, "SELECT name, value, text FROM reports WHERE trial = 2") == [
        ("eval_loss", None, "nan"),
        ("note", None, "é"),
    ]
    assert query(layout, "SELECT job_id, kind FROM jobs ORDER BY job_id") == [
        ("100", "array"),
        ("150", "planner"),
        ("200", "array"),
        ("250", "planner"),
    ]
    assert query(layout, "SELECT wave, assignments FROM waves") == [(0, 4), (1, 5)]
    assert query(layout, "SELECT name, finished FROM study") == [("demo", None)]


def test_the_database_has_what_counts_beside_what_the_journal_says(layout: StudyLayout) -> None:
    publish(layout)
    columns = "attempt, outcome, reason, job_state, gpu_hours, journal_outcome"
    assert query(layout, f"SELECT {columns} FROM attempts WHERE trial IN (2, 3) ORDER BY trial") == [
        (0, "fail", "out of memory", "OUT_OF_MEMORY", 1.0, None),
        (-1, "interrupted", "its node failed", "NODE_FAIL", 0.02, None),
    ]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_results_csv_has_a_row_per_trial_by_number(layout: StudyLayout) -> None:
    publish(layout)
    rows = rows_of(layout.results)
    assert list(rows[0]) == [
        *("trial", "state", "wave", "attempts", "step", "bs", "lr", "momentum"),
        *("eval_loss", "eval_loss.best", "eval_loss.best_step", "eval_loss.last", "f1", "note"),
        *("runtime", "gpu_hours", "peak_host_gb", "peak_gpu_gb", "node", "reason"),
    ]
    assert [row["trial"] for row in rows] == ["0", "1", "2", "3", "4", "5"]
    assert rows[0] == {
        **{"trial": "0", "state": "COMPLETE", "wave": "0", "attempts": "1", "step": "2", "bs": "1"},
        **{"lr": "1e-05", "momentum": ""},
        **{"eval_loss.best": "1.5", "eval_loss.best_step": "2", "eval_loss.last": "1.5"},
        **{"eval_loss": "1.5", "f1": "0.5", "note": "", "runtime": "3600.0", "gpu_hours": "2.0", "node": "n0"},
        **{"peak_host_gb": "", "peak_gpu_gb": "", "reason": ""},
    }
    assert (rows[2]["eval_loss"], rows[2]["reason"]) == ("nan", "out of memory")
    assert (rows[3]["attempts"], rows[3]["step"], rows[3]["node"]) == ("1", "", "")
    assert (rows[4]["momentum"], rows[4]["runtime"]) == ("0.9", "")


def test_reports_csv_has_every_attempts_reports(layout: StudyLayout) -> None:
    publish(layout)
    rows = rows_of(layout.reports)
    assert list(rows[0]) == ["trial", "attempt", "step", "eval_loss", "f1", "note", "time"]
    assert [(r["trial"], r["attempt"], r["step"], r["eval_loss"]) for r in rows] == [
        ("0", "0", "1", "1.6"),
        ("0", "0", "2", "1.5"),
        ("1", "1", "2", "1.25"),
        ("1", "2", "2", "1.0"),
        ("2", "0", "1", "nan"),
    ]


def test_damaged_job_records_do_not_stop_publishing(layout: StudyLayout) -> None:
    layout.wave(0).jobs.write_text("{")
    layout.wave(1).planner_job.write_text("[]")
    publish(layout, "sqlite")
    assert query(layout, "SELECT job_id FROM jobs") == [("200",)]


@pytest.mark.parametrize("name", PUBLISHERS)
def test_every_publisher_of_the_table_is_there(name: str) -> None:
    row = PUBLISHERS[name]
    module, _, class_name = row.implementation.partition(":")
    built = getattr(importlib.import_module(module), class_name)(row.options())
    assert next(iter(inspect.signature(built.publish).parameters)) == "study"


def test_one_publisher_that_fails_keeps_no_other_from_publishing(layout: StudyLayout) -> None:
    layout.database.mkdir()  # cannot be replaced by a file
    study = Published(layout, spec_publishing(layout), read_history(layout))
    (failure,) = publish_files(study)
    assert failure.startswith("sqlite: not published: ") and layout.results.exists()


def test_rebuilding_says_what_it_could_not_write(layout: StudyLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: Path, _data: bytes, _mode: int = 0o600) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "publish", refuse)
    with pytest.raises(StudyError, match=r"sqlite: not published: .*No space left.*; csv: not published: "):
        rebuild(layout, spec_publishing(layout))


def test_rebuilding_says_which_service_it_could_not_reach_after_writing_the_files(layout: StudyLayout) -> None:
    (layout.root / "file").touch()
    entries = ("csv", "{optuna: {storage: 'journal:file/in-no-directory'}}")
    with pytest.raises(StudyError, match=r"^optuna: not published: .*in-no-directory"):
        rebuild(layout, spec_publishing(layout, *entries))
    assert layout.results.exists()


def test_rebuilding_forgets_what_services_were_sent(layout: StudyLayout) -> None:
    write_publication(layout, "mlflow", Publication("x", {"0": Sent("y")}))
    rebuild(layout, spec_publishing(layout))
    assert layout.publications() == {}


def test_a_directory_of_publications_that_became_a_link_is_left_alone(layout: StudyLayout, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "package.json").write_text("{}")
    (layout.root / "publish").symlink_to(other)
    with pytest.raises(OSError, match="it is a link"):
        forget(layout)
    with pytest.raises(OSError, match="it is a link"):
        write_publication(layout, "mlflow", Publication("x", {"0": Sent("y")}))
    assert [path.name for path in other.iterdir()] == ["package.json"]
