"""The three ways in which hposlurm writes shared files: create once, publish by rename, append a line (journal.py).

It uses no locks: `link(2)` and `rename(2)` are atomic on all shared file systems of clusters, but locks are not
reliable there. Temporary files are in the directory of the final file, because some file systems link only within one
directory.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hposlurm.records.permissions import PRIVATE, open_file
from hposlurm.records.reading import read_whole

# The errors of link() on file systems without hard links (some FUSE mounts, AFS across directories)
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.EXDEV, errno.ENOSYS}


@contextlib.contextmanager
def _temporary_beside(path: Path, data: bytes, mode: int = PRIVATE, *, is_in_study: bool = True) -> Iterator[Path]:
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    fd = _create(temporary, mode, is_in_study=is_in_study)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def sync_directory(directory: Path) -> None:
    """Makes links and renames in `directory` durable; does nothing if the file system does not support it."""
    with contextlib.suppress(OSError):
        fd = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def make_durable(path: Path) -> None:
    """Waits until a file, or a directory with its content, is on disk. Raises OSError if the file system does."""
    for part in (*path.rglob("*"), path):
        fd = os.open(part, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def create_once(path: Path, data: bytes, mode: int = PRIVATE, *, is_in_study: bool = True) -> bool:
    """Creates `path` with `data` atomically. Returns False, and changes nothing, if `path` exists.

    `mode` is the permissions before the umask; a study's file can be read by a group that may read its directory.
    """
    if path.exists():
        return False
    with _temporary_beside(path, data, mode, is_in_study=is_in_study) as temporary:
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            return _create_exclusive(path, data, mode, is_in_study=is_in_study)
    sync_directory(path.parent)
    return True


def link_once(source: Path, target: Path) -> bool:
    """Creates `target` as a hard link to `source`. Returns False if `target` exists and is another file.

    On a file system without hard links `target` becomes a copy.
    """
    try:
        os.link(source, target)
    except FileExistsError:
        return target.samefile(source)  # true if the reply to a successful first try was lost (NFS)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _create_exclusive(target, read_whole(source), PRIVATE, is_in_study=True)
    sync_directory(target.parent)
    return True


def _create(path: Path, mode: int, *, is_in_study: bool) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    return open_file(path, flags, mode) if is_in_study else os.open(path, flags, mode)


def _create_exclusive(path: Path, data: bytes, mode: int, *, is_in_study: bool) -> bool:
    """Creates the file exclusively, without hard links; a reader may see it before it is complete."""
    try:
        fd = _create(path, mode, is_in_study=is_in_study)
    except FileExistsError:
        return False
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return True


def publish(path: Path, data: bytes, mode: int = PRIVATE, *, is_durable: bool = True, is_in_study: bool = True) -> None:
    """Replaces the content of `path` atomically: readers see either the old or the new file.

    `mode` and `is_in_study` are as in `create_once`. Without `is_durable` a power failure may restore the old file.
    """
    with _temporary_beside(path, data, mode, is_in_study=is_in_study) as temporary:
        temporary.replace(path)
    if is_durable:
        sync_directory(path.parent)


def age_s(path: Path) -> float:
    """Returns the seconds since `path` was written, by the file system's clock: the nodes' clocks may differ."""
    with _temporary_beside(path, b"") as now:
        return now.stat().st_mtime - path.stat().st_mtime


def from_json(data: bytes) -> Any:
    """Returns the value of `data`. Raises ValueError if it is not JSON, or nested deeper than hposlurm ever writes."""
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def to_json(value: Any) -> bytes:
    """Returns JSON with a final newline, keys in the given order. Raises ValueError for NaN and infinity."""
    return (json.dumps(value, allow_nan=False) + "\n").encode()
