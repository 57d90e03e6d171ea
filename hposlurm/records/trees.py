"""Deletes and measures files in directories that other programs write to. Standard library only.

Training code may have put a link or a mount into such a directory. So each step goes through a descriptor of the
directory above it: no link is followed, and no other file system is entered. A bind mount of the same file system is
found by the number of its mount.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

# The levels of a tree that is deleted. A deeper one is left: each level keeps a descriptor open
_DEEPEST = 100
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@contextlib.contextmanager
def opened(path: Path) -> Iterator[int]:
    """Yields a descriptor of the directory `path`, whose last part may be a link. Raises OSError."""
    fd = os.open(path, _DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def opened_below(parent: int, name: str, shown: Path) -> Iterator[int]:
    """Yields a descriptor of the directory `name` in `parent`; `shown` is its path for errors.

    Raises OSError if it is a link or anything else than a directory, or if another file system is mounted there.
    """
    try:
        fd = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    except OSError as error:  # ENOTDIR for a link (open(2), O_NOFOLLOW with O_DIRECTORY)
        what = "it is a link" if is_link(parent, name) else error.strerror
        raise OSError(error.errno, what, str(shown)) from None
    try:
        if _file_system(fd) != _file_system(parent):
            raise OSError(errno.EXDEV, "another file system is mounted there", str(shown))
        yield fd
    finally:
        os.close(fd)


def names(directory: int) -> list[str]:
    """Returns the names in an open directory. Raises OSError."""
    return os.listdir(directory)


def is_link(parent: int, name: str) -> bool:
    """True if `name` in the directory `parent` is a symbolic link; False if it is anything else, or absent."""
    try:
        return stat.S_ISLNK(os.lstat(name, dir_fd=parent).st_mode)
    except OSError:
        return False


def exists(parent: int, name: str) -> bool:
    """True if `name` is in the directory `parent`; a link counts, wherever it leads."""
    try:
        os.lstat(name, dir_fd=parent)
    except OSError:
        return False
    return True


def _file_system(directory: int) -> tuple[int, str]:
    """Returns what differs between two mounts: the device and, where /proc shows it, the mount (proc(5), fdinfo)."""
    try:
        with open(f"/proc/self/fdinfo/{directory}") as file:
            mount = next((line for line in file if line.startswith("mnt_id:")), "")
    except OSError:
        mount = ""
    return os.fstat(directory).st_dev, mount


def used_bytes(parent: int, name: str, depth: int = 0) -> int:
    """Returns the bytes on the disk of `name` in the directory `parent`, with its content.

    What is on other file systems, what links lead to and what cannot be read counts as 0.
    """
    try:
        status = os.lstat(name, dir_fd=parent)
        total = status.st_blocks * 512
        if stat.S_ISDIR(status.st_mode) and depth < _DEEPEST:
            with opened_below(parent, name, Path(name)) as fd:
                total += sum(used_bytes(fd, inner, depth + 1) for inner in names(fd))
    except OSError:
        return 0
    return total


def remove(parent: int, name: str, shown: Path, depth: int = 0) -> list[OSError]:
    """Deletes `name` in the directory `parent` with its content, and returns the errors of what was left.

    `shown` is its path for errors. A link is deleted itself; another file system and a very deep tree are left.
    """
    problems: list[OSError] = []
    try:
        if not stat.S_ISDIR(os.lstat(name, dir_fd=parent).st_mode):
            os.unlink(name, dir_fd=parent)
            return []
        if depth > _DEEPEST:
            raise OSError(errno.ELOOP, f"more than {_DEEPEST} directories below each other", str(shown))
        with opened_below(parent, name, shown) as fd:
            for inner in names(fd):
                problems += remove(fd, inner, shown / inner, depth + 1)
        if not problems:
            os.rmdir(name, dir_fd=parent)
    except FileNotFoundError:
        return problems
    except OSError as error:
        problems.append(OSError(error.errno, error.strerror, str(shown)))
    return problems


def remove_tree(path: Path) -> list[OSError]:
    """Deletes `path` with its content as `remove` does. Only the directories above it may be links."""
    try:
        with opened(path.parent) as parent:
            return remove(parent, path.name, path)
    except OSError as error:
        return [error]
