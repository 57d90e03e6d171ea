"""Writes the files that a person names (`collect -o`, `best --export`); they are not part of a study."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from hposlurm.errors import RequestError
from hposlurm.records import files
from hposlurm.records.ownership import link_of_others

_ALL_USERS = 0o666  # the umask removes bits from it
_STANDARD = ("fd", "stdin", "stdout", "stderr")  # in /dev: other names of open files


def check_writable(path: Path) -> None:
    """Raises RequestError if `path` cannot be written, or must not: through a link that another user may have made."""
    if path.is_dir():
        raise RequestError(f"cannot write {path}: it is a directory")
    if is_special(path):
        return
    if (link := link_of_others(path.absolute())) is not None:
        raise RequestError(
            f"cannot write {path}: {link} is a link in a directory that other users may write to, and could "
            "lead to any file of yours; name the file itself"
        )
    parent = _target(path).parent
    if not parent.is_dir():
        raise RequestError(f"cannot write {path}: there is no directory {parent}")


def is_special(path: Path) -> bool:
    """True for a path that is written in place, not replaced: a pipe, a device, another name of an open file."""
    parts = path.absolute().parts
    if parts[1] == "proc" or (parts[1] == "dev" and parts[2:3] and parts[2] in _STANDARD):
        return True
    return path.exists() and not stat.S_ISREG(path.stat().st_mode)


def write(path: Path, data: bytes) -> None:
    """Writes `data` to `path`. A file is replaced atomically; an own link is followed to its target.

    A new file gets the permissions that the umask leaves. A replaced file keeps its permissions, as far as the umask
    allows. A special path (`is_special`) is written in place.
    """
    check_writable(path)
    if is_special(path):
        with open(os.open(path, os.O_WRONLY | os.O_APPEND), "wb") as file:
            file.write(data)
        return
    target = _target(path)
    files.publish(
        target, data, stat.S_IMODE(target.stat().st_mode) if target.exists() else _ALL_USERS, is_in_study=False
    )


def create(path: Path, data: bytes) -> bool:
    """Writes `data` as a new file, as `write` does; returns False, and changes nothing, if the file exists."""
    check_writable(path)
    return files.create_once(_target(path), data, _ALL_USERS, is_in_study=False)


def _target(path: Path) -> Path:
    return Path(os.path.realpath(path))
