"""`study.db`: its schema, and reading back the part that comes from journals. `publish.sqlite` writes it.

The file is never written in place: it is built elsewhere and replaced by rename. Readers can therefore open it as
immutable, which needs no lock. It has two uses: SQL for people, and a faster `read_history`. Everything in it is also
in other records.

No table has the name of one of Optuna's, and SQLite itself writes nothing into the file: a program that takes it for
its own storage would add tables to it, and what it writes would be lost with the next publication.
"""

from __future__ import annotations

import json
import sqlite3
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from hposlurm.records.decode import field_readers, structure
from hposlurm.records.plan import WavePlan
from hposlurm.records.thinning import NOTHING, Needed
from hposlurm.trial import Attempt, Report

#: PRAGMA user_version. A database of another version is ignored, and replaced by the next publication.
SCHEMA_VERSION = 10

#: The permissions of the file. They do not keep root from writing; the next constant does.
READ_ONLY = 0o440
# SQLite reads a file whose write version (byte 18) it does not know, and refuses to write it
# (https://www.sqlite.org/fileformat2.html#file_format_version_numbers). It knows 1 (rollback journal) and 2 (WAL).
_WRITE_VERSION, _UNKNOWN_VERSION = 18, 3

# Columns without a type keep the type of each value: parameters may be numbers, text or NULL.
# attempts:
#   `outcome`, `reason`, `cause` (JSON, NULL for none), `ended_at` and `gpus` are final, including settlements.
#   `journal_*` are the values in the journal.
#   `journal_bytes` is how many bytes of the journal were read.
#   Negative attempts ended before they wrote a journal.
#   `saved` and `left_out` are those of Attempt.
# reports: `number` counts the steps that the attempt reported; of very many, only some are here. `counts` is 1 for
#   those that the trial's row in a table of results depends on.
# study: `needed` says which reports were kept in any case, `sources` from which files it was made.
# results: `step` is the last one. `last` is the last value of each metric, `best` the best value of each objective with
#   its step. `final` is 1 if no later record can change the trial.
SCHEMA = """
CREATE TABLE study (
  name TEXT NOT NULL PRIMARY KEY, created_at REAL NOT NULL, spec TEXT NOT NULL, objectives TEXT NOT NULL,
  retries INTEGER NOT NULL, finished TEXT, needed TEXT NOT NULL, sources TEXT NOT NULL
);
CREATE TABLE waves (
  wave INTEGER NOT NULL PRIMARY KEY, created_at REAL NOT NULL, spec TEXT NOT NULL, seed INTEGER NOT NULL,
  assignments INTEGER NOT NULL, gpus INTEGER NOT NULL, cpus INTEGER NOT NULL, timeout_s REAL, finished TEXT
);
CREATE TABLE jobs (
  job_id TEXT NOT NULL PRIMARY KEY, wave INTEGER NOT NULL, kind TEXT NOT NULL, element_offset INTEGER, elements INTEGER
);
CREATE TABLE results (
  trial INTEGER NOT NULL PRIMARY KEY, state TEXT NOT NULL, wave INTEGER NOT NULL, signature TEXT NOT NULL,
  seed INTEGER NOT NULL, attempts INTEGER NOT NULL, runtime_s REAL, gpu_hours REAL NOT NULL, peak_host_gb REAL,
  peak_gpu_gb REAL, reason TEXT NOT NULL, tail TEXT NOT NULL, attrs TEXT NOT NULL,
  infeasible INTEGER NOT NULL, params TEXT NOT NULL, step INTEGER, last TEXT NOT NULL, best TEXT NOT NULL, node TEXT,
  final INTEGER NOT NULL
);
CREATE TABLE parameters (trial INTEGER NOT NULL, name TEXT NOT NULL, value, PRIMARY KEY (trial, name));
CREATE TABLE objective_values (
  trial INTEGER NOT NULL, objective INTEGER NOT NULL, name TEXT NOT NULL, value REAL NOT NULL,
  PRIMARY KEY (trial, objective)
);
CREATE TABLE reports (
  trial INTEGER NOT NULL, attempt INTEGER NOT NULL, step INTEGER NOT NULL, name TEXT NOT NULL,
  value REAL, text TEXT, time REAL NOT NULL, number INTEGER NOT NULL, counts INTEGER NOT NULL,
  PRIMARY KEY (trial, attempt, step, name)
);
CREATE TABLE attempts (
  trial INTEGER NOT NULL, attempt INTEGER NOT NULL, wave INTEGER NOT NULL, element INTEGER NOT NULL,
  job_id TEXT NOT NULL, job_state TEXT, host TEXT NOT NULL, gpus INTEGER NOT NULL, gpu_ids TEXT NOT NULL,
  restart INTEGER NOT NULL, stage INTEGER NOT NULL, started_at REAL NOT NULL, ended_at REAL, outcome TEXT,
  reason TEXT NOT NULL, exit_code INTEGER, elapsed_s REAL, gpu_hours REAL NOT NULL, peak_host_gb REAL, peak_gpu_gb REAL,
  git_commit TEXT, resumed_from TEXT, log TEXT NOT NULL, checkpoints TEXT NOT NULL, metrics TEXT NOT NULL,
  tail TEXT NOT NULL, journal_outcome TEXT, journal_reason TEXT, journal_ended_at REAL, journal_gpus INTEGER,
  journal_bytes INTEGER, corrupt_lines INTEGER NOT NULL, cause TEXT, journal_cause TEXT,
  saved TEXT NOT NULL, left_out INTEGER NOT NULL, notes TEXT NOT NULL, PRIMARY KEY (trial, attempt)
);
"""


# The tables that are read back
_READ = ("study", "waves", "attempts", "reports", "results", "objective_values")
#: What reading a database may raise that is missing, damaged, or not a database.
DAMAGES = (sqlite3.Error, OSError, ValueError, TypeError, LookupError, RecursionError, OverflowError)
# SQLite's virtual machine takes less than 20 steps per row, and a row has more than 20 bytes
_MOST_STEPS_PER_BYTE = 2
_STEPS_PER_CALL = 100_000
_LONGEST_VALUE = 64 * 2**20

# The column of each field of Attempt that the journal has, but for its reports
_COLUMNS = {
    **{name: name for name in ("wave", "job_id", "host", "started_at", "gpu_ids", "restart", "stage", "git_commit")},
    **{name: name for name in ("resumed_from", "log", "peak_host_gb", "peak_gpu_gb", "exit_code", "corrupt_lines")},
    **{name: name for name in ("left_out", "checkpoints", "metrics", "tail", "saved", "notes")},
    "number": "attempt",
    "index": "element",
    "ended_at": "journal_ended_at",
    "outcome": "journal_outcome",
    "reason": "journal_reason",
    "gpus": "journal_gpus",
    "offset": "journal_bytes",
    "cause": "journal_cause",
}
# Those whose cells are JSON
_AS_JSON = frozenset({"checkpoints", "metrics", "tail", "saved", "notes", "cause"})


def sealed(data: bytes) -> bytes:
    """Returns the content of a database file so that SQLite only reads it."""
    return data[:_WRITE_VERSION] + bytes([_UNKNOWN_VERSION]) + data[_WRITE_VERSION + 1 :]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The content of the database when it was published."""

    #: The attempts of each trial, from the journals only (without settlements).
    attempts: Mapping[int, tuple[Attempt, ...]] = field(default_factory=dict)
    #: The last planned wave; -1 if there is none. Earlier waves had ended before the journals were read.
    last_wave: int = -1


def read_snapshot(
    path: Path,
    plan: WavePlan,
    needed: Needed = NOTHING,
    trials: Collection[int] | None = None,
    *,
    curves: bool = True,
) -> Snapshot:
    """Returns the journals' part of the database at `path`; `plan` is the plan of the first wave.

    Empty if the database is missing, damaged, of another version or of another study: it is only a shortcut. Without
    the trials of which it lacks `needed` reports. Only of `trials`, unless that is None. Without
    `curves`, only with the reports that count for results.
    """
    try:
        with opened(path) as connection:
            if not _is_of(connection, plan):
                return Snapshot()
            (last_wave,) = connection.execute("SELECT max(wave) FROM waves").fetchone()
            attempts = _attempts(connection, _reports(connection, trials, curves=curves), trials)
            if not _needed(connection).includes(needed):
                attempts = {
                    trial: own for trial, own in attempts.items() if not any(attempt.is_thinned for attempt in own)
                }
            return Snapshot(attempts, int(last_wave))
    except DAMAGES:
        return Snapshot()


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Opens the published database at `path` for reading. Raises one of DAMAGES if it is not one of this version."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"{path} is not a regular file")  # SQLite would wait for the other end of a pipe
    size = found.st_size
    with closing(sqlite3.connect(f"file:{quote(str(path))}?immutable=1&mode=ro", uri=True)) as connection:
        _bound(connection, size)
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version != SCHEMA_VERSION or not _has_tables(connection):
            raise ValueError(f"version {version}, not {SCHEMA_VERSION}, or a table is missing")
        yield connection


def _bound(connection: sqlite3.Connection, size: int) -> None:
    """Interrupts queries that take more steps than the rows of a file of `size` bytes need, and refuses huge values."""
    calls = iter(range(1 + _MOST_STEPS_PER_BYTE * size // _STEPS_PER_CALL))
    connection.set_progress_handler(lambda: next(calls, None) is None, _STEPS_PER_CALL)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_VALUE)
    connection.execute("PRAGMA trusted_schema = OFF")


def _has_tables(connection: sqlite3.Connection) -> bool:
    """True if the tables to read are tables with rows of their own: a view may compute for ever."""
    # views and virtual tables have no root page
    own = "type = 'table' AND rootpage > 0 AND sql NOT LIKE '%GENERATED%'"
    query = f"SELECT count(*) FROM sqlite_master WHERE {own} AND name IN ({', '.join('?' * len(_READ))})"
    (count,) = connection.execute(query, _READ).fetchone()
    return bool(count == len(_READ))


def _is_of(connection: sqlite3.Connection, plan: WavePlan) -> bool:
    studies = [tuple(row) for row in connection.execute("SELECT name, created_at FROM study")]
    return studies == [(plan.study, plan.created_at)]


def _needed(connection: sqlite3.Connection) -> Needed:
    (text,) = connection.execute("SELECT needed FROM study").fetchone()
    return structure(Needed, json.loads(text))


def _of(trials: Collection[int] | None) -> tuple[str, tuple[str, ...]]:
    """Returns a condition on a table's column `trial`, and the values for its marks."""
    return ("TRUE", ()) if trials is None else ("trial IN (SELECT value FROM json_each(?))", (json.dumps([*trials]),))


def _reports(
    connection: sqlite3.Connection, trials: Collection[int] | None, *, curves: bool
) -> dict[tuple[int, int], dict[int, Report]]:
    found: dict[tuple[int, int], dict[int, Report]] = {}
    those, values = _of(trials)
    query = f"SELECT trial, attempt, step, name, value, text, time, number FROM reports WHERE {those}"
    query += " ORDER BY rowid" if curves else " AND counts ORDER BY rowid"
    for trial, attempt, step, name, value, text, time, number in connection.execute(query, values):
        steps = found.setdefault((trial, attempt), {})
        report = steps.get(step)
        if report is None:
            if type(step) is not int or type(time) is not float or type(number) is not int or number < 0:
                raise ValueError(f"step {step!r:.60} at {time!r:.60}, number {number!r:.60}")
            report = steps[step] = Report(step, {}, time, number)
        shown = value if text is None else text
        if type(name) is not str or type(shown) not in (float, str):
            raise ValueError(f"{name!r:.60} is {shown!r:.60}")
        metrics: dict[str, float | str] = report.metrics  # type: ignore[assignment]  # made a few lines above
        metrics[name] = shown
    return found


def _attempts(
    connection: sqlite3.Connection,
    reports: Mapping[tuple[int, int], Mapping[int, Report]],
    trials: Collection[int] | None,
) -> dict[int, tuple[Attempt, ...]]:
    found: dict[int, tuple[Attempt, ...]] = {}
    those, values = _of(trials)
    query = f"SELECT trial, {', '.join(_COLUMNS.values())} FROM attempts WHERE journal_bytes IS NOT NULL AND {those}"
    for trial, *cells in connection.execute(f"{query} ORDER BY trial, attempt", values):
        attempt = _attempt(trial, cells, reports)
        found[trial] = (*found.get(trial, ()), attempt)
    return found


def _attempt(trial: int, cells: Sequence[Any], reports: Mapping[tuple[int, int], Mapping[int, Report]]) -> Attempt:
    """Returns the attempt in `cells`. Raises ValueError for a cell that no journal could have produced."""
    readers = field_readers(Attempt)
    known = {
        name: readers[name](_decoded(cell) if name in _AS_JSON else cell)
        for name, cell in zip(_COLUMNS, cells, strict=True)
    }
    own = tuple(reports.get((trial, known["number"]), {}).values())
    attempt = Attempt(reports=own, **known)
    if attempt.number < 0 or attempt.offset < 0:
        raise ValueError(f"attempt {attempt.number}, read up to byte {attempt.offset}")
    return attempt


def _decoded(cell: str | None) -> Any:
    if cell is None:
        return None
    return [] if cell == "[]" else json.loads(cell)  # most are empty
