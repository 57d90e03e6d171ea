"""Real mounts for tests of deletion, where this process may mount."""

from __future__ import annotations

import contextlib
import ctypes
import os
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

_BIND, _DETACH = 4096, 2  # MS_BIND, MNT_DETACH: mount(2), umount2(2)


def _call(name: str, *arguments: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@contextlib.contextmanager
def mounted(directory: Path, source: Path | None = None) -> Iterator[None]:
    """Mounts `source` on the directory, or an empty tmpfs for None, while the body runs. Raises OSError."""
    place = os.fsencode(directory)
    if source is None:
        _call("mount", b"tmpfs", place, b"tmpfs", 0, b"size=1m")
    else:
        _call("mount", os.fsencode(source), place, None, _BIND, None)
    try:
        yield
    finally:
        _call("umount2", place, _DETACH)


@cache
def can_mount() -> bool:
    """True if this process may mount."""
    with tempfile.TemporaryDirectory() as directory:
        try:
            with mounted(Path(directory)):
                return True
        except OSError:
            return False
