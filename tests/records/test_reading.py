"""Only regular files of a bounded size are read, and opening one never waits."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hposlurm.records.reading import open_regular, read_end, read_whole


def other(path: Path, kind: str) -> Path:
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case "directory":
            path.mkdir()
        case _:
            os.mknod(path, 0o600 | 0o140000)  # a socket
    return path


@pytest.mark.parametrize("kind", ["pipe", "device", "directory", "socket"])
@pytest.mark.parametrize(
    "read", [read_whole, lambda path: read_end(path, 9), lambda path: open_regular(path).__enter__()]
)
def test_anything_but_a_regular_file_is_an_error_at_once(tmp_path: Path, kind: str, read) -> None:
    with pytest.raises(OSError):
        read(other(tmp_path / "x", kind))


def test_a_file_is_read_up_to_the_largest_size(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"0123456789")
    assert read_whole(path, 10) == b"0123456789"
    with pytest.raises(OSError, match="more than the 9 bytes"):
        read_whole(path, 9)


def test_a_sparse_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.touch()
    os.truncate(path, 2**40)
    with pytest.raises(OSError, match="more than the"):
        read_whole(path)
    assert read_end(path, 3) == b"\0\0\0"


def test_a_file_in_proc_that_tells_no_size_is_read() -> None:
    assert read_whole(Path("/proc/self/stat"))


def test_the_end_of_a_short_file_is_all_of_it(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert read_end(tmp_path / "x", 9) == b"abc"
