"""Studies that somebody or something has damaged, drawn at random; and the command line on them, in this process."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import sqlite3
import stat
import sys
import traceback
from collections.abc import Callable
from contextlib import closing, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest import mock

import yaml
from hypothesis import strategies as st

from hposlurm.cli.main import main
from hposlurm.records.assignment import Settlement
from hposlurm.records.layout import StudyLayout
from hposlurm.trial import JobState, Outcome
from tests.spec.data import OTHERS, VALID
from tests.studies import (
    BEGIN,
    add_wave,
    changed_database,
    completed,
    end,
    failed,
    make_study,
    publish,
    report,
    start,
    write_journal,
    write_log,
)

READ_VERBS: tuple[tuple[str, ...], ...] = (
    ("status", "demo"),
    ("status", "demo", "--format", "json"),
    ("list",),
    ("list", "--format", "json"),
    ("collect", "demo"),
    ("collect", "demo", "--format", "json"),
    ("collect", "demo", "--format", "csv"),
    ("best", "demo"),
    ("best", "demo", "--top", "3"),
    ("logs", "demo", "0"),
    ("logs", "demo", "2"),
)
WRITE_VERBS: tuple[tuple[str, ...], ...] = (("advance", "demo"), ("rebuild", "demo"))

Attack = Callable[[StudyLayout], None]


def build(runs: Path) -> StudyLayout:
    """A study in the middle of its life: every kind of attempt and every file that a study can have."""
    layout = make_study(runs, n_trials=6)
    add_wave(layout, range(4), retries=1)
    write_journal(layout, 0, completed(0, 1.5, steps=2, peak_gpu_gb=2.0))
    write_log(layout, 0, "line of output\n")
    write_journal(layout, 1, failed(1))
    write_journal(layout, 2, [start(2), report(1, BEGIN + 9, eval_loss="nan")])
    settled = [
        Settlement(2, 0, 0, "100_2", JobState.TIMEOUT, 1800.0, 2, Outcome.INTERRUPTED, "time limit"),
        Settlement(3, None, 0, "100_3", JobState.NODE_FAIL, 36.0, 2, Outcome.INTERRUPTED, "its node failed"),
    ]
    add_wave(layout, [1, 2, 3], settled=settled, retries=1)
    checkpoint = {"kind": "checkpoint", "t": BEGIN + 20, "step": 1, "path": "checkpoints/1"}
    memory = {"kind": "memory", "t": BEGIN + 30, "peak_host_gb": 1.5, "peak_gpu_gb": None}
    write_journal(layout, 1, [start(1, 1, 1, 0), checkpoint, memory, end("interrupted")], 1)
    write_journal(layout, 2, [start(2, 1, 1, 1), report(2, BEGIN + 21, eval_loss=1.0)], 1)
    for number in range(3):
        params = {"bs": 1 + number % 2, "lr": (number + 1) * 1e-5}
        record = {"number": number, "params": params, "signature": f"{number:08x}", "seed": number, "wave": 0}
        layout.trial(number).record.write_text(json.dumps({**record, "attrs": {}}))
    for wave in (0, 1):
        intent = {"token": f"token{wave}", "host": "login", "pid": 1, "created_at": BEGIN, "backend": "slurm"}
        layout.wave(wave).intent.write_text(json.dumps(intent))
        layout.wave(wave).released.touch()
    publish(layout)
    write_journal(layout, 2, [report(3, BEGIN + 22, eval_loss=0.9)], 1)  # behind what the database knows
    return layout


# ---- running


def hposlurm(*words: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr; an exception that reaches the shell is part of stderr, status 70."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True), io.StringIO()
    with mock.patch.object(sys, "argv", ["hposlurm", *words]), redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as left:
            status = left.code if isinstance(left.code, int) else int(left.code is not None)
        except Exception:
            status = 70
            traceback.print_exc()
    return status, out.buffer.getvalue().decode(errors="replace"), err.getvalue()  # type: ignore[attr-defined]


def everything(root: Path) -> dict[str, bytes | str]:
    """All that lies under `root`, by name: contents of files, targets of links."""
    found: dict[str, bytes | str] = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file():
            size = path.stat().st_size
            found[name] = path.read_bytes() if size < _SPARSE else f"{size} bytes"
        else:
            found[name] = "directory" if path.is_dir() else "pipe"
    return found


# ---- damaging

_SPARSE = 2**33

_NUMBERS = st.sampled_from([0, -1, 1, 10**4, 2**53, 2**63, 2**70, 10**400, 0.5, -0.0, 1e308, 1e-320])
_WILD = st.sampled_from([float("nan"), float("inf"), float("-inf")])
_TEXTS = st.sampled_from(
    ["", "x", "nan", "0", "²", "\x00", "a\nb", "\x1b[31m", "\ud800", "../../x", "/", "é" * 300, "%s"]
)
_SINGLE = st.one_of(st.none(), st.booleans(), _NUMBERS, _WILD, _TEXTS, st.integers(), st.floats(), st.text(max_size=9))
JUNK = st.recursive(
    _SINGLE, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3), max_leaves=5
)
_DEEP = b"[" * 3_000


def _places(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path to every place inside of a JSON value, its own included."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here, *(place for key, child in inner for place in _places(child, (*here, key)))]


@st.composite
def _spoilt(draw: st.DrawFn, value: Any) -> Any:
    """`value` with one to three of its places replaced, taken out, or given something more."""
    value = json.loads(json.dumps(value))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(_places(value)))
        if not place:
            if draw(st.integers(0, 9)) == 0:
                return draw(JUNK)
            continue
        holder = value
        for key in place[:-1]:
            holder = holder[key]
        match draw(st.integers(0, 4)):
            case 0:
                del holder[place[-1]]
            case 1 if isinstance(holder, dict):
                holder[draw(st.one_of(_TEXTS, st.sampled_from(["kind", "trial", "format", "wave"])))] = draw(JUNK)
            case _:
                holder[place[-1]] = draw(JUNK)
    return value


@st.composite
def _mangled(draw: st.DrawFn, content: bytes) -> bytes:
    """`content` as a broken disk, a broken copy or a broken program leaves it."""
    at, length = draw(st.integers(0, len(content))), draw(st.integers(0, 40))
    more = draw(st.one_of(st.binary(max_size=20), st.just(_DEEP), st.just(b"\0" * 512), st.just(b'{"a":1}\n')))
    return draw(
        st.sampled_from(
            [content[:at], content[:at] + more + content[at:], content[:at] + more + content[at + length :], more,
             content[at:], content + content, content.replace(b"\n", b"\r\n"), content[:at] + content[at + length :]]
        )
    )  # fmt: skip


@st.composite
def damaged_json(draw: st.DrawFn, study: Path, pattern: str) -> Attack:
    """One of the study's JSON files that match `pattern`, its values or its bytes spoilt."""
    name = draw(st.sampled_from(sorted(str(p.relative_to(study)) for p in study.glob(pattern))))
    content = (study / name).read_bytes()
    if draw(st.booleans()):
        content = json.dumps(draw(_spoilt(json.loads(content)))).encode()
    else:
        content = draw(_mangled(content))
    return lambda layout: _write(layout.root / name, content)


@st.composite
def damaged_journal(draw: st.DrawFn, study: Path) -> Attack:
    """A journal with a spoilt record, mangled bytes, or its lines in disorder."""
    name = draw(st.sampled_from(sorted(str(p.relative_to(study)) for p in study.glob("trials/*/*.jsonl"))))
    lines = (study / name).read_bytes().splitlines(keepends=True)
    position = draw(st.integers(0, len(lines) - 1))
    match draw(st.integers(0, 3)):
        case 0:
            lines[position] = json.dumps(draw(_spoilt(json.loads(lines[position])))).encode() + b"\n"
        case 1:
            lines[position] = draw(_mangled(lines[position]))
        case 2:
            lines = draw(st.lists(st.sampled_from(lines), max_size=6))
        case _:
            lines = [draw(_mangled(b"".join(lines)))]
    return lambda layout: _write(layout.root / name, b"".join(lines))


@st.composite
def damaged_database(draw: st.DrawFn, study: Path) -> Attack:
    """`study.db` truncated, with other bytes, or with other values in its cells."""
    if draw(st.booleans()):
        content = draw(_mangled((study / "study.db").read_bytes()))
        return lambda layout: _write(layout.database, content)
    with closing(sqlite3.connect(study / "study.db")) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        table = draw(st.sampled_from(tables))
        column = draw(st.sampled_from([row[1] for row in connection.execute(f"PRAGMA table_info({table})")]))
    texts = st.sampled_from(["[]", "{}", "[[1]]", "[1]", '{"a":[]}', "NaN", *("[" * 3_000, "", "²", "\x1b[31m")])
    cells = st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.floats(), st.binary(max_size=9), texts)
    value = draw(cells)
    statement = draw(
        st.sampled_from(
            [f"UPDATE OR IGNORE {table} SET {column} = ?1", f"DELETE FROM {table} WHERE ?1 IS ?1",
             f"UPDATE OR REPLACE {table} SET {column} = ?1 WHERE rowid % 2 = 0"]
        )
    )  # fmt: skip

    def attack(layout: StudyLayout) -> None:
        # a row id takes nothing but whole numbers
        with closing(_database(layout)) as connection, contextlib.suppress(sqlite3.Error):
            connection.execute(statement, (value,))
            connection.commit()

    return attack


@st.composite
def foreign_things(draw: st.DrawFn, study: Path) -> Attack:
    """What does not belong there, or is gone: files, folders and links of any name, in any place."""
    places = sorted(str(p.relative_to(study)) for p in study.rglob("*"))
    folders = [".", *(name for name in places if (study / name).is_dir())]
    names = ["²", "٣", "00007", "7", "-1", "x", ".hidden", "attempt-x.jsonl", "attempt-٣.jsonl", "attempt-07.jsonl"]
    names += ["attempt-5.jsonl", "study.².yaml", "study.1.yaml", "STOP", "wave.json", "0009", "a\nb", "\udcff", "0002"]
    target = draw(st.one_of(st.sampled_from(places), st.tuples(st.sampled_from(folders), st.sampled_from(names))))
    name = target if isinstance(target, str) else "/".join(target)
    kind = draw(st.sampled_from(["gone", "folder", "file", "dangling link", "circle"]))
    content = draw(st.sampled_from([b"", b"{}", b"garbage\n", b"\0\0"]))

    def attack(layout: StudyLayout) -> None:
        path = layout.root / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        match kind:
            case "folder":
                path.mkdir()
            case "file":
                path.write_bytes(content)
            case "dangling link":
                path.symlink_to("nowhere")
            case "circle":
                path.symlink_to(path.name)

    return attack


@st.composite
def special_files(draw: st.DrawFn, study: Path) -> Attack:
    """A file of the study, or one that it may have, is a pipe, a device, endless, huge, or another user's."""
    places = sorted(str(p.relative_to(study)) for p in study.rglob("*") if p.is_file())
    places += ["STOP", "study.1.yaml", "warm_start.json", "simulated.json", "publish/csv.json", "ds_config.json"]
    places += [
        "waves/0001/batch-00003.json",
        "waves/0001/intent.1.json",
        "waves/0001/upkeep.json",
        "waves/0002/wave.json",
    ]
    places += ["waves/0001/cancelled", "trials/00002/attempt-2.jsonl", "trials/00003/attempt-0.jsonl"]
    name = draw(st.sampled_from(places))
    kind = draw(st.sampled_from(["pipe", "endless", "sparse", "one long line", "many short lines", "terminal", "deep"]))

    def attack(layout: StudyLayout) -> None:
        path = layout.root / name
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        match kind:
            case "pipe":
                os.mkfifo(path)
            case "endless":
                path.symlink_to("/dev/zero")
            case "terminal":
                path.symlink_to("/dev/tty")
            case "sparse":
                path.touch()
                os.truncate(path, 2 * _SPARSE)
            case "one long line":
                path.write_bytes(b"x" * 2**22)
            case "many short lines":
                path.write_bytes(b"{}\n" * 2**16)
            case _:
                path.write_bytes(b'{"kind": ' * 2**16)

    return attack


@st.composite
def computing_database(draw: st.DrawFn, study: Path) -> Attack:  # noqa: ARG001 - as the others
    """`study.db` in which a table is a view without an end, or has columns that are computed."""
    table = draw(st.sampled_from(["study", "waves", "attempts", "reports"]))
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)"
    statement = draw(
        st.sampled_from(
            [
                f"CREATE VIEW {table} AS {endless} SELECT kept.* FROM n, kept",
                f"CREATE VIEW {table} AS SELECT * FROM kept, kept AS a, kept AS b, kept AS c, kept AS d, kept AS e",
                f"CREATE VIRTUAL TABLE {table} USING fts5(a, b)",
                f"CREATE TABLE {table} (trial, wave AS (zeroblob(900000000)), x)",
                f"CREATE TABLE {table} (name, created_at AS (hex(zeroblob(400000000))))",
            ]
        )
    )

    def attack(layout: StudyLayout) -> None:
        with closing(_database(layout)) as connection, contextlib.suppress(sqlite3.Error):
            connection.execute(f"ALTER TABLE {table} RENAME TO kept")
            connection.execute(statement)
            connection.commit()

    return attack


def damaged_study_file(study: Path) -> st.SearchStrategy[bytes]:
    """The text of `study.yaml`, or of one that has other keys, with other values or other bytes."""
    contents = [(study / "study.yaml").read_bytes(), *(text.encode() for text in (VALID, *OTHERS))]
    return st.sampled_from(contents).flatmap(
        lambda content: st.one_of(_mangled(content), _spoilt(yaml.safe_load(content)).map(_yaml))
    )


def _yaml(value: Any) -> bytes:
    return yaml.safe_dump(value, allow_unicode=False, sort_keys=False).encode("utf-8", "surrogatepass")


def _write(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)  # an earlier attack may have left a pipe, to which writing would wait for ever
    path.write_bytes(content)


def _database(layout: StudyLayout) -> sqlite3.Connection:
    """A connection that may write `study.db`; OSError if an earlier attack left a pipe or an endless file there."""
    found = layout.database.lstat()
    if not stat.S_ISREG(found.st_mode) or found.st_size >= _SPARSE:
        raise FileNotFoundError(layout.database)
    return changed_database(layout.database)
