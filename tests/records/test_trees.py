"""Deletion in directories that other programs write to: no link is followed, no other file system entered."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from hposlurm.records import trees
from tests.mounts import can_mount, mounted

needs_mounts = pytest.mark.skipif(not can_mount(), reason="this process may not mount file systems: run it as root")


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    path = tmp_path / "outside"
    path.mkdir()
    (path / "precious").write_text("thesis")
    return path


def test_a_tree_goes_and_what_its_links_lead_to_stays(tmp_path: Path, outside: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "deep" / "deeper").mkdir(parents=True)
    (tree / "deep" / "file").touch()
    (tree / "link").symlink_to(outside)
    (tree / "deep" / "file-link").symlink_to(outside / "precious")
    assert trees.remove_tree(tree) == []
    assert not tree.exists()
    assert (outside / "precious").read_text() == "thesis"


def test_a_link_is_deleted_itself(tmp_path: Path, outside: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(outside)
    assert trees.remove_tree(link) == []
    assert not link.is_symlink()
    assert (outside / "precious").exists()


def test_what_is_gone_already_is_no_error(tmp_path: Path) -> None:
    assert trees.remove_tree(tmp_path / "gone") == []
    assert [error.errno for error in trees.remove_tree(tmp_path / "gone" / "deeper")] == [errno.ENOENT]


@needs_mounts
@pytest.mark.parametrize("kind", ["tmpfs", "bind mount of the same file system"])
def test_a_mount_inside_stays_with_its_content(tmp_path: Path, outside: Path, kind: str) -> None:
    place = tmp_path / "tree" / "deep" / "data"
    place.mkdir(parents=True)
    (tmp_path / "tree" / "deep" / "file").touch()
    with mounted(place, None if kind == "tmpfs" else outside):
        (place / "more").touch()
        before = sorted(place.iterdir())
        (problem,) = trees.remove_tree(tmp_path / "tree")
        assert (problem.errno, problem.filename) == (errno.EXDEV, str(place))
        assert sorted(place.iterdir()) == before
        assert not (tmp_path / "tree" / "deep" / "file").exists()
        assert trees.used_bytes(os.open(tmp_path, os.O_RDONLY), "tree") < 50_000
    assert trees.remove_tree(tmp_path / "tree") == []
    assert (outside / "precious").exists()


def test_a_directory_of_another_device_is_another_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "tree" / "inner"
    inner.mkdir(parents=True)
    (inner / "file").touch()
    number = inner.stat().st_ino
    monkeypatch.setattr(trees, "_file_system", lambda fd: (os.fstat(fd).st_ino == number, ""))
    assert [error.errno for error in trees.remove_tree(tmp_path / "tree")] == [errno.EXDEV]
    assert (inner / "file").exists()


def test_a_tree_that_is_deeper_than_any_checkpoint_is_left(tmp_path: Path) -> None:
    (tmp_path / "tree" / Path(*["d"] * 150)).mkdir(parents=True)
    (problem,) = trees.remove_tree(tmp_path / "tree")
    assert "more than 100 directories below each other" in str(problem)
    assert (tmp_path / "tree" / Path(*["d"] * 150)).exists()


@pytest.mark.parametrize("way", ["link", "file", "nothing"])
def test_only_directories_are_opened(tmp_path: Path, outside: Path, way: str) -> None:
    {
        "link": lambda: (tmp_path / "x").symlink_to(outside),
        "file": lambda: (tmp_path / "x").touch(),
        "nothing": lambda: None,
    }[way]()
    with (
        trees.opened(tmp_path) as parent,
        pytest.raises(OSError) as raised,
        trees.opened_below(parent, "x", tmp_path / "x"),
    ):
        pass
    assert raised.value.filename == str(tmp_path / "x")
    assert ("it is a link" in str(raised.value)) is (way == "link")
