"""The one way to read files that trials, other programs and other users may have written. Standard library only.

A pipe in the place of a record would block its reader, a device or a sparse file would fill the memory. So only regular
files are read, opening never waits, and no more is read than the largest record needs.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

#: The largest file that is read whole. The plan of a wave of 100,000 trials has about a third of it.
MOST_BYTES = 256 * 2**20


@contextlib.contextmanager
def open_regular(path: Path) -> Iterator[BinaryIO]:
    """Opens a regular file for reading. Raises OSError for anything else, without waiting for its other end."""
    # Linux ignores O_NONBLOCK for regular files
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)  # open() refuses a directory, and leaves its descriptor open
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    with open(fd, "rb") as file:
        yield file


def read_whole(path: Path, most: int = MOST_BYTES) -> bytes:
    """Returns the content of a regular file. Raises OSError for anything else and for more than `most` bytes."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        data = file.read(most + 1) if size <= most else b""
        if size > most or len(data) > most:
            raise OSError(errno.EFBIG, f"it has more than the {most} bytes that such a file can have", str(path))
        return data


def read_begin(path: Path, most: int) -> bytes:
    """Returns the first `most` bytes of a regular file, or all if it has fewer. Raises OSError for anything else."""
    with open_regular(path) as file:
        return file.read(most)


def read_end(path: Path, most: int) -> bytes:
    """Returns the last `most` bytes of a regular file, or all if it has fewer. Raises OSError for anything else."""
    with open_regular(path) as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - most))
        return file.read(most)
