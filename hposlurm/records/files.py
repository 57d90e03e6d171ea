"""The only three ways in which hposlurm writes a shared file: create once, publish by rename, append a line.

No locks: `link(2)` and `rename(2)` are atomic on every shared file system that clusters use, locks are not.
Temporary files lie beside what they become, since some file systems link only within one directory.
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

#: Permissions of what belongs to a study.
PRIVATE = 0o600

# link() is refused with one of these where a file system has no hard links (some FUSE mounts, AFS across directories)
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.EXDEV, errno.ENOSYS}


@contextlib.contextmanager
def _temporary_beside(path: Path, data: bytes, mode: int = PRIVATE) -> Iterator[Path]:
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def sync_directory(directory: Path) -> None:
    """Makes a link or rename in `directory` durable; silently nothing where a file system cannot."""
    with contextlib.suppress(OSError):
        fd = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def make_durable(path: Path) -> None:
    """Waits until a file, or a directory with all that is in it, is on the disk; raises OSError if it is refused."""
    for part in (*path.rglob("*"), path):
        fd = os.open(part, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def create_once(path: Path, data: bytes, mode: int = PRIVATE) -> bool:
    """Creates `path` with `data`, whole or not at all; False if it exists already (which then stays as it is).

    `mode` is the permissions before the umask.
    """
    if path.exists():
        return False
    with _temporary_beside(path, data, mode) as temporary:
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            return _create_exclusive(path, data, mode)
    sync_directory(path.parent)
    return True


def link_once(source: Path, target: Path) -> bool:
    """Gives the file `source` the further name `target`; False if that is another file's name already.

    Where there are no links, `target` becomes a copy.
    """
    try:
        os.link(source, target)
    except FileExistsError:
        return target.samefile(source)  # the first answer of a network file system may be lost
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _create_exclusive(target, source.read_bytes(), PRIVATE)
    sync_directory(target.parent)
    return True


def _create_exclusive(path: Path, data: bytes, mode: int) -> bool:
    """The fallback without hard links: exclusive, but a reader may see the file before it is complete."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        return False
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return True


def publish(path: Path, data: bytes, mode: int = PRIVATE, *, is_durable: bool = True) -> None:
    """Replaces `path` by `data` in one step: a reader sees the old file or the new one, never a half.

    `mode` is the permissions before the umask. What is not `is_durable` may be the old file again after a power cut.
    """
    with _temporary_beside(path, data, mode) as temporary:
        temporary.replace(path)
    if is_durable:
        sync_directory(path.parent)


def age_s(path: Path) -> float:
    """Seconds since `path` was written, both times by the file system's clock: those of the nodes may differ."""
    with _temporary_beside(path, b"") as now:
        return now.stat().st_mtime - path.stat().st_mtime


def from_json(data: bytes) -> Any:
    """The value of `data`; raises ValueError if it is no JSON, or nested deeper than anything that hposlurm writes."""
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def to_json(value: Any) -> bytes:
    """JSON in the order given and a final newline; refuses NaN and infinity, which are not JSON."""
    return (json.dumps(value, allow_nan=False) + "\n").encode()
