import os
import time
from pathlib import Path

import pytest

from hposlurm.worker import scratch
from tests.mounts import can_mount, mounted

OLD = 1e6  # seconds ahead of the lock's birth


def environ(tmp_path: Path, **variables: str) -> dict[str, str]:
    return {"TMPDIR": str(tmp_path), "PATH": "/bin", **variables}


def test_a_scratch_directory_is_private_and_new(tmp_path: Path) -> None:
    first, second = (scratch.create(environ(tmp_path), tmp_path) for _ in range(2))
    assert first != second
    assert first.parent == tmp_path
    assert first.stat().st_mode & 0o777 == 0o700
    (first / "deep").mkdir()
    scratch.remove(first)
    assert not first.exists()


def test_what_killed_workers_left_is_swept_and_what_living_ones_use_is_not(tmp_path: Path) -> None:
    mine, living = (scratch.create(environ(tmp_path), tmp_path) for _ in range(2))
    left, young, notes = (tmp_path / f"hposlurm-{name}" for name in ("attempt-0", "attempt-1", "notes"))
    for path in (left / "tmp", young, notes):
        path.mkdir(parents=True)
    for path in (mine, living, left, notes):
        os.utime(path, (0, 0))
    scratch.sweep(mine)
    assert [path.exists() for path in (mine, living, left, young, notes)] == [True, True, False, True, True]


def test_a_tmpdir_that_is_not_there_is_passed_over(tmp_path: Path) -> None:
    made = scratch.create({"TMPDIR": str(tmp_path / "gone")}, tmp_path)
    assert made.parent in (Path("/tmp"), Path("/var/tmp"))
    scratch.remove(made)


def test_extensions_are_shared_between_attempts_but_not_between_environments(tmp_path: Path) -> None:
    first = scratch.extensions_directory(environ(tmp_path))
    assert first is not None
    assert first.is_relative_to(tmp_path / f"hposlurm-shared-{os.getuid()}")
    assert scratch.extensions_directory(environ(tmp_path)) == first
    assert scratch.extensions_directory(environ(tmp_path, VIRTUAL_ENV="/venv")) != first


@pytest.mark.parametrize("trap", ["open", "link"])
def test_a_directory_that_others_could_write_is_not_trusted(
    tmp_path: Path, trap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch, "_bases", lambda _: [tmp_path])
    root = tmp_path / f"hposlurm-shared-{os.getuid()}"
    if trap == "open":
        root.mkdir()
        root.chmod(0o777)
    else:
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        root.symlink_to(tmp_path / "elsewhere")
    assert scratch.extensions_directory(environ(tmp_path)) is None


def test_a_lock_without_an_owner_is_removed_once_it_is_old_enough(tmp_path: Path) -> None:
    (tmp_path / "op").mkdir()
    lock = tmp_path / "op" / "lock"
    lock.touch()
    scratch.remove_stale_locks(tmp_path)
    assert lock.exists()
    scratch.remove_stale_locks(tmp_path, now=time.time() + OLD)
    assert not lock.exists()


def test_a_lock_that_a_build_holds_stays(tmp_path: Path) -> None:
    (tmp_path / "op").mkdir()
    lock = tmp_path / "op" / "lock"
    with lock.open("w"):
        scratch.remove_stale_locks(tmp_path, now=time.time() + OLD)
        assert lock.exists()
    scratch.remove_stale_locks(tmp_path, now=time.time() + OLD)
    assert not lock.exists()


@pytest.mark.skipif(not can_mount(), reason="this process may not mount file systems: run it as root")
def test_what_a_trial_has_mounted_in_its_scratch_directory_stays(tmp_path: Path) -> None:
    remote = tmp_path / "remote"
    remote.mkdir()
    (remote / "precious").touch()
    mine = scratch.create(environ(tmp_path), tmp_path)
    (mine / "sshfs").mkdir()
    with mounted(mine / "sshfs", remote):
        scratch.remove(mine)
        assert (mine / "sshfs" / "precious").exists()
    scratch.remove(mine)
    assert not mine.exists()
    assert (remote / "precious").exists()


def test_a_lock_that_a_link_leads_to_stays(tmp_path: Path) -> None:
    (tmp_path / "other" / "op").mkdir(parents=True)
    (tmp_path / "other" / "op" / "lock").touch()
    (tmp_path / "extensions").mkdir()
    (tmp_path / "extensions" / "op").symlink_to(tmp_path / "other" / "op")
    scratch.remove_stale_locks(tmp_path / "extensions", now=time.time() + OLD)
    assert (tmp_path / "other" / "op" / "lock").exists()
