import os
from pathlib import Path

import pytest

from hposlurm.worker import output
from hposlurm.worker.output import GrowingFile, last_lines, plain, tail


def rest(file: GrowingFile) -> list[bytes]:
    return [line for lines in file.remaining() for line in lines]


def test_lines_come_once_they_are_complete(tmp_path: Path) -> None:
    path = tmp_path / "out"
    file = GrowingFile(path)
    assert file.lines() == []
    path.write_bytes(b"one\ntw")
    assert file.lines() == [b"one"]
    with path.open("ab") as out:
        out.write(b"o\n\nthree")
    assert file.lines() == [b"two"]
    assert rest(file) == [b"three"]
    assert rest(file) == []


def test_reading_starts_at_the_offset_and_carriage_returns_may_end_lines(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"old\n10%\r20%\r\nend")
    assert rest(GrowingFile(path, offset=4, ends=b"\r\n")) == [b"10%", b"20%", b"end"]


def test_a_line_without_end_is_cut_and_does_not_pile_up(tmp_path: Path) -> None:
    path = tmp_path / "out"
    file = GrowingFile(path, longest=10)
    for _ in range(3):
        with path.open("ab") as out:
            out.write(b"0123456789abcdef")
        assert file.lines() == []
    with path.open("ab") as out:
        out.write(b"\nnext\n")
    assert file.lines() == [b"0123456789", b"next"]


def test_last_lines_are_what_a_terminal_would_show(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"before\n\x1b[1;31mred\x1b[0m \xff\x07\r\n 10%|\r 20%|\r 30%|\n\n\tindented\nlast\n")
    assert last_lines(path, 7) == ["red �", " 30%|", "\tindented", "last"]
    assert last_lines(path / "missing") == []


def test_the_tail_is_bounded() -> None:
    assert tail([f"line {n}" for n in range(100)]) == [f"line {n}" for n in range(80, 100)]
    assert tail(["x" * 1000]) == ["…" + "x" * 500]
    assert len("\n".join(tail(["é" * 400] * 20)).encode()) <= 4096
    assert tail([]) == []


@pytest.mark.parametrize("kind", ["fifo", "device", "directory"])
def test_what_took_the_place_of_a_file_is_not_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "metrics"
    path.write_bytes(b"one\n")
    file = GrowingFile(path)
    assert (file.lines(), file.is_replaced) == ([b"one"], False)
    path.unlink()
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    assert (file.lines(), rest(file), file.is_replaced) == ([], [], True)
    assert last_lines(path) == []


def test_of_a_huge_file_the_end_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "_MOST_REMAINING", 2**20)
    monkeypatch.setattr(output, "_CHUNK", 2**18)
    path = tmp_path / "sparse"
    path.write_bytes(b"one\n")
    os.truncate(path, 2**40)
    parts = list(GrowingFile(path).remaining())
    assert parts[0] == [b"one"] and len(parts) == 5


def test_colours_are_taken_out_of_a_line() -> None:
    assert plain(b"loss \x1b[1;32m0.5\x1b[0m \xff\x1b]8;;http://x\x07y") == b"loss 0.5 \xffy"
