"""Tests that study.db is read only if it is intact and of this study."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from hposlurm.records import database
from hposlurm.records.database import SCHEMA, SCHEMA_VERSION, Snapshot, read_snapshot
from hposlurm.records.history import read_history
from hposlurm.records.layout import StudyLayout
from tests.studies import changed_database, publish, study_of_completed


@pytest.fixture
def published(tmp_path: Path) -> StudyLayout:
    layout = study_of_completed(tmp_path, 3)
    publish(layout, "sqlite")
    return layout


def change(layout: StudyLayout, statement: str) -> None:
    with closing(changed_database(layout.database)) as connection:
        connection.execute(statement)
        connection.commit()


def test_a_published_database_has_the_content_of_the_journals(published: StudyLayout) -> None:
    history = read_history(published, use_database=False)
    assert read_snapshot(published.database, history.plans[0]) == Snapshot(history.journals, 0)


def test_a_missing_database_is_empty(tmp_path: Path) -> None:
    layout = study_of_completed(tmp_path, 1)
    assert read_snapshot(layout.database, read_history(layout).plans[0]) == Snapshot()


@pytest.mark.parametrize(
    "damage",
    [
        f"PRAGMA user_version = {SCHEMA_VERSION + 1}",
        "DROP TABLE attempts",
        "UPDATE study SET name = 'other'",
        "UPDATE study SET created_at = 1",
        "DELETE FROM study",
        "DELETE FROM waves",
        "UPDATE attempts SET metrics = '{'",
        "UPDATE attempts SET journal_outcome = 'exploded'",
    ],
)
def test_a_database_of_another_kind_or_study_is_ignored(published: StudyLayout, damage: str) -> None:
    whole = read_history(published, use_database=False)
    change(published, damage)
    assert read_snapshot(published.database, whole.plans[0]) == Snapshot()
    assert read_history(published) == whole


@pytest.mark.parametrize("keep", [0, 10, 5000])
def test_a_truncated_database_is_ignored(published: StudyLayout, keep: int) -> None:
    whole = read_history(published, use_database=False)
    published.database.write_bytes(published.database.read_bytes()[:keep])
    assert read_history(published) == whole


def test_garbage_in_its_place_is_ignored(published: StudyLayout) -> None:
    whole = read_history(published, use_database=False)
    published.database.write_bytes(b"\0garbage" * 4096)
    assert read_history(published) == whole


def test_reading_leaves_nothing_beside_the_database(published: StudyLayout) -> None:
    before = sorted(p.name for p in published.root.iterdir())
    published.database.chmod(0o400)
    read_history(published)
    assert sorted(p.name for p in published.root.iterdir()) == before


def test_a_directory_with_question_marks_and_spaces_is_read(tmp_path: Path) -> None:
    layout = study_of_completed(tmp_path / "what? 100% & #1", 1)
    publish(layout, "sqlite")
    assert len(read_snapshot(layout.database, read_history(layout).plans[0]).attempts) == 1


def test_sqlite_writes_nothing_into_a_published_database(published: StudyLayout) -> None:
    """Not even for root, whom the file's mode does not keep from it."""
    before = published.database.read_bytes()
    with closing(sqlite3.connect(published.database)) as connection:
        assert connection.execute("SELECT count(*) FROM results").fetchone() == (3,)
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            connection.execute("CREATE TABLE version_info (id INTEGER)")
    assert published.database.read_bytes() == before
    assert published.database.stat().st_mode & 0o777 == 0o440


def test_optuna_does_not_take_it_for_its_own_storage(published: StudyLayout) -> None:
    optuna = pytest.importorskip("optuna")
    before = published.database.read_bytes()
    with pytest.raises(Exception, match=r"readonly"):
        optuna.load_study(study_name=None, storage=f"sqlite:///{published.database}")
    assert published.database.read_bytes() == before
    assert sorted(p.name for p in published.root.iterdir() if p.name.startswith("study.db")) == ["study.db"]


def test_no_table_has_a_name_of_optunas() -> None:
    models = pytest.importorskip("optuna.storages._rdb.models")
    own = set(re.findall(r"CREATE TABLE (\w+)", SCHEMA))
    assert own and not own & set(models.BaseModel.metadata.tables)


def test_the_manual_has_every_table_and_column() -> None:
    manual = (Path(__file__).parents[2] / "README.md").read_text()
    table = manual[manual.index("\n| ", manual.index("**`study.db`**")) :].split("\n\n")[0]
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(SCHEMA)
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns = {name: [row[1] for row in connection.execute(f"PRAGMA table_info({name})")] for name in tables}
    rows = dict(re.findall(r"^\| `(\w+)` \|(.*)$", table, re.MULTILINE))
    assert rows.keys() == set(tables)
    missing = [f"{name}.{c}" for name, found in columns.items() for c in found if f"`{c}`" not in rows[name]]
    assert missing == []


ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)"


@pytest.mark.parametrize("table", ["study", "waves", "attempts", "reports"])
@pytest.mark.parametrize("view", [f"{ENDLESS} SELECT kept.* FROM n, kept", "SELECT * FROM kept"])
def test_a_view_is_not_asked(published: StudyLayout, table: str, view: str) -> None:
    change(published, f"ALTER TABLE {table} RENAME TO kept")
    change(published, f"CREATE VIEW {table} AS {view}")
    assert read_snapshot(published.database, read_history(published, use_database=False).plans[0]) == Snapshot()


def test_a_query_that_takes_more_steps_than_the_file_has_rows_for_is_interrupted(published: StudyLayout) -> None:
    with closing(sqlite3.connect(published.database)) as connection:
        database._bound(connection, 10_000)
        with pytest.raises(sqlite3.OperationalError, match="interrupted"):
            connection.execute(f"{ENDLESS} SELECT count(*) FROM n")
        with pytest.raises(sqlite3.DataError, match="too big"):
            connection.execute("SELECT zeroblob(900000000)")


def test_a_database_of_many_reports_needs_fewer_steps_than_the_bound(tmp_path: Path) -> None:
    layout = study_of_completed(tmp_path, 2, steps=20_000)
    publish(layout, "sqlite")
    history = read_history(layout, use_database=False)
    assert read_snapshot(layout.database, history.plans[0]) == Snapshot(history.journals, 0)
