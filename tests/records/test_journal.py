import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hposlurm.records import journal

keys = st.text(max_size=8)
values = (
    st.none()
    | st.booleans()
    | st.integers(1 - 2**63, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
records = st.lists(st.dictionaries(keys, values | st.dictionaries(keys, values, max_size=3), max_size=4), max_size=8)


def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("journal") / "attempt-0.jsonl"


@settings(max_examples=50)
@given(records, st.data())
def test_records_read_back_the_same_in_any_split(tmp_path_factory: pytest.TempPathFactory, wanted, data) -> None:
    whole = fresh(tmp_path_factory)
    fd = journal.open_journal(whole)
    for record in wanted:
        journal.append(fd, record, durable=False)
    os.close(fd)
    content = whole.read_bytes()

    growing = whole.with_name("growing.jsonl")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=6)))
    offset, read = 0, []
    for cut in [*cuts, len(content)]:
        growing.write_bytes(content[:cut])
        tail = journal.read(growing, offset)
        assert tail.corrupt == 0
        offset = tail.offset
        read += tail.records
    assert read == wanted
    assert offset == len(content)


@settings(max_examples=50)
@given(records.filter(bool), st.data())
def test_a_torn_last_line_costs_that_line_alone(tmp_path_factory: pytest.TempPathFactory, wanted, data) -> None:
    path = fresh(tmp_path_factory)
    fd = journal.open_journal(path)
    for record in wanted:
        journal.append(fd, record, durable=False)
    last = path.read_bytes().splitlines(keepends=True)[-1]
    os.truncate(path, path.stat().st_size - data.draw(st.integers(1, len(last) - 1)))
    assert list(journal.read(path).records) == wanted[:-1]
    assert journal.read(path).corrupt == 0

    journal.append(fd, {"kind": "next"}, durable=False)
    os.close(fd)
    tail = journal.read(path)
    # only the newline may have been missing: then the append completed the record
    assert (list(tail.records), tail.corrupt) in [
        ([*wanted[:-1], {"kind": "next"}], 1),
        ([*wanted, {"kind": "next"}], 0),
    ]


def test_a_torn_line_is_read_once_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "j"
    path.write_bytes(b'{"a":1}\n{"b"')
    first = journal.read(path)
    assert first == journal.Tail(({"a": 1},), 8, 0)
    with path.open("ab") as file:
        file.write(b":2}\n")
    assert journal.read(path, first.offset) == journal.Tail(({"b": 2},), 16, 0)


@pytest.mark.parametrize("broken", [b"", b"{", b"[1]", b"7", b"\xff\x00", b'{"a":1}{"b":2}', b"[" * 100_000])
def test_a_broken_line_in_the_middle_is_skipped_and_counted(tmp_path: Path, broken: bytes) -> None:
    path = tmp_path / "j"
    path.write_bytes(b'{"a":1}\n' + broken + b'\n{"b":2}\n')
    tail = journal.read(path)
    assert tail.records == ({"a": 1}, {"b": 2})
    assert tail.corrupt == 1
    assert tail.offset == path.stat().st_size


def test_a_journal_is_claimed_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "attempt-0.jsonl"
    os.close(journal.open_journal(path))
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        journal.open_journal(path)


def test_a_short_write_is_an_error_and_the_next_append_heals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "j"
    fd = journal.open_journal(path)
    real_write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: real_write(fd, data[:5]))
        with pytest.raises(OSError, match="No space left"):
            journal.append(fd, {"lost": 1})
    journal.append(fd, {"kept": 2})
    os.close(fd)
    assert journal.read(path).records == ({"kept": 2},)


def test_numbers_that_json_lacks_are_refused(tmp_path: Path) -> None:
    fd = journal.open_journal(tmp_path / "j")
    with pytest.raises(ValueError, match="JSON"):
        journal.append(fd, {"x": float("nan")})
    os.close(fd)
    assert (tmp_path / "j").read_bytes() == b""


class Scalar:
    def __init__(self, value: object) -> None:
        self.value = value

    def item(self) -> object:
        return self.value


class Unspeakable:
    def __float__(self) -> float:
        raise RuntimeError

    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("value", "held"),
    [
        (1, 1.0),
        (True, "True"),
        ("2.5", 2.5),
        (Scalar(0.25), 0.25),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        ("abc", "abc"),
        (None, "None"),
        ([1, 2], "[1, 2]"),
        (10**400, "1" + "0" * 199),
        (Unspeakable(), "<Unspeakable>"),
    ],
)
def test_a_metric_is_a_finite_number_or_a_text(value: object, held: float | str) -> None:
    result = journal.metric_value(value)
    assert result == held
    json.dumps(result, allow_nan=False)


def test_scalars_of_numpy_are_numbers() -> None:
    numpy = pytest.importorskip("numpy")
    assert journal.metric_value(numpy.float32(0.5)) == 0.5
    assert journal.metric_value(numpy.array([[2.0]])) == 2.0
    assert journal.metric_value(numpy.bool_(True)) == "True"
    assert journal.metric_value(numpy.array([1.0, 2.0])) == "[1. 2.]"


@pytest.mark.parametrize("durable", [True, False])
def test_an_append_reaches_the_disk_if_it_is_to_be_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    fd = journal.open_journal(tmp_path / "j")
    journal.append(fd, {"a": 1}, durable=durable)
    os.close(fd)
    assert synced == ([fd] if durable else [])


@pytest.mark.parametrize(
    "line",
    [
        '{"kind": "report", "t": NaN}',
        '{"kind": "report", "t": -Infinity}',
        '{"kind": "report", "t": 1e999}',
        '{"kind": "report", "step": 9223372036854775808}',
        '{"kind": "report", "metrics": {"a": [-9223372036854775809]}}',
        '{"kind": "report", "step": ' + "9" * 5000 + "}",
        '{"kind": ' * 5000 + "1" + "}" * 5000,
        '{"kind": "report", "a": "' + "x" * 2**24 + '"}',
        "[1]",
        "",
        "\x00" * 512,
    ],
    ids=lambda line: line[:40],
)
def test_a_line_that_no_worker_writes_is_one_damaged_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "attempt-0.jsonl"
    path.write_text(f'{{"kind": "start"}}\n{line}\n{{"kind": "end"}}\n')
    tail = journal.read(path)
    assert [record["kind"] for record in tail.records] == ["start", "end"]
    assert tail.corrupt == 1
    assert tail.offset == path.stat().st_size


@pytest.mark.parametrize("line", ['{"t": 9223372036854775807, "a": 1e300}', '{"text": "1234567890123456789012 1e999"}'])
def test_large_numbers_that_a_database_takes_are_read(tmp_path: Path, line: str) -> None:
    (tmp_path / "x").write_text(f"{line}\n")
    assert journal.read(tmp_path / "x").corrupt == 0


def test_of_a_sparse_journal_a_bounded_part_is_read(tmp_path: Path) -> None:
    path = tmp_path / "attempt-0.jsonl"
    path.write_text('{"kind": "start"}\n')
    os.truncate(path, 2**40)
    tail = journal.read(path)
    assert (len(tail.records), tail.corrupt) == (1, 1)
    assert tail.offset < 2**25
