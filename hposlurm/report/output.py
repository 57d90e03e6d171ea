"""Files that a person asks for by name (`collect -o`, `best --export`): theirs, unlike those of a study."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from hposlurm.errors import RequestError
from hposlurm.records import files

_EVERYBODY = 0o666  # less what the umask takes away


def check_writable(path: Path) -> None:
    """Raises RequestError if `path` is a directory or lies in none."""
    if path.is_dir():
        raise RequestError(f"cannot write {path}: it is a directory")
    parent = _target(path).parent
    if not is_special(path) and not parent.is_dir():
        raise RequestError(f"cannot write {path}: there is no directory {parent}")


def is_special(path: Path) -> bool:
    """True for what is written to rather than replaced: a pipe, a device, another name of an open file."""
    if path.absolute().parts[1] in ("dev", "proc"):
        return True
    return path.exists() and not stat.S_ISREG(path.stat().st_mode)


def write(path: Path, data: bytes) -> None:
    """Writes `data` to `path`: a file is replaced in one step, a link leads to its target.

    A new file has the permissions that the umask leaves, an earlier one keeps its own as far as the umask does. What
    `is_special` is written in place.
    """
    if is_special(path):
        with open(os.open(path, os.O_WRONLY | os.O_APPEND), "wb") as file:
            file.write(data)
        return
    target = _target(path)
    files.publish(target, data, stat.S_IMODE(target.stat().st_mode) if target.exists() else _EVERYBODY)


def create(path: Path, data: bytes) -> bool:
    """Writes `data` as a new file as `write` does; False if there is one already, which then stays as it is."""
    return files.create_once(_target(path), data, _EVERYBODY)


def _target(path: Path) -> Path:
    return Path(os.path.realpath(path))
