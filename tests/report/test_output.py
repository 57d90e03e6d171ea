"""Where a person's own file is written: never through a link that another user may have made."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hposlurm.errors import RequestError
from hposlurm.report import output


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    path = tmp_path / "precious"
    path.write_text("thesis")
    return path


@pytest.fixture
def everybodys(tmp_path: Path) -> Path:
    path = tmp_path / "everybodys"
    path.mkdir()
    path.chmod(0o1777)
    return path


@pytest.mark.parametrize("kind", ["a link", "below a link"])
@pytest.mark.parametrize("write", [output.write, output.create])
def test_a_link_in_a_directory_of_all_is_not_followed(precious: Path, everybodys: Path, kind: str, write) -> None:
    link = everybodys / "results"
    link.symlink_to(precious if kind == "a link" else precious.parent)
    path = link if kind == "a link" else link / "precious"
    with pytest.raises(RequestError, match=f"{link} is a link in a directory that other users may write to"):
        write(path, b"table")
    assert precious.read_text() == "thesis"


def test_a_link_to_nothing_makes_no_file_elsewhere(tmp_path: Path, everybodys: Path) -> None:
    (everybodys / "results").symlink_to(tmp_path / "new")
    with pytest.raises(RequestError, match="is a link"):
        output.write(everybodys / "results", b"table")
    assert not (tmp_path / "new").exists()


def test_an_own_link_is_followed(precious: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(precious)
    output.write(tmp_path / "link", b"table")
    assert precious.read_bytes() == b"table"
    assert (tmp_path / "link").is_symlink()


def test_a_file_in_a_directory_of_all_is_written(everybodys: Path) -> None:
    output.write(everybodys / "results", b"table")
    assert (everybodys / "results").read_bytes() == b"table"


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="there is no /dev/shm")
def test_files_in_shared_memory_are_files(precious: Path) -> None:
    link = Path("/dev/shm") / f"hposlurm-test-{os.getpid()}"
    link.symlink_to(precious)
    try:
        with pytest.raises(RequestError, match="is a link"):
            output.write(link, b"table")
    finally:
        link.unlink()
    assert precious.read_text() == "thesis"


def test_standard_output_is_written_in_place() -> None:
    assert output.is_special(Path("/dev/stdout")) and output.is_special(Path("/dev/fd/1"))
    assert output.is_special(Path("/dev/null")) and output.is_special(Path("/proc/self/fd/1"))
