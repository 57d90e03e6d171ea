from pathlib import Path

from hposlurm.worker.output import GrowingFile, exception, last_lines, tail


def test_lines_come_once_they_are_complete(tmp_path: Path) -> None:
    path = tmp_path / "out"
    file = GrowingFile(path)
    assert file.lines() == []
    path.write_bytes(b"one\ntw")
    assert file.lines() == [b"one"]
    with path.open("ab") as out:
        out.write(b"o\n\nthree")
    assert file.lines() == [b"two"]
    assert file.remaining() == [b"three"]
    assert file.remaining() == []


def test_reading_starts_at_the_offset_and_carriage_returns_may_end_lines(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"old\n10%\r20%\r\nend")
    assert GrowingFile(path, offset=4, ends=b"\r\n").remaining() == [b"10%", b"20%", b"end"]


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


def test_the_last_exception_is_found() -> None:
    assert exception(["Traceback (most recent call last):", "KeyError: 'a'", "done"]) == "KeyError: 'a'"
    oom = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB"
    assert exception([f"[rank1]: {oom}", "torch.distributed.elastic.multiprocessing.errors.ChildFailedError: "]) == oom
    assert exception(["AssertionError"]) == "AssertionError"
    assert exception(["no Error: here", "  File x, line 1"]) == ""
