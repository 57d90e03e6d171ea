"""Creates the directories and files of a study with the right permissions. Standard library only.

They are for their owner (0700, 0600). With `share: group` the study's directory can be read by its group (0750), and
what is created in a directory that the group may read can be read by it, too (0750, 0640), whatever the umask. So the
decision lies in the directories themselves, and holds for every process that writes there. Nobody but the owner may
write: `records/ownership.py` refuses such a study.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

#: Permissions of the files of a study, for the owner.
PRIVATE = 0o600

_GROUP_ENTERS = stat.S_IRGRP | stat.S_IXGRP
_OWNER_ENTERS = 0o700
# Other users get nothing, and the group cannot write
_SHARED_UMASK = 0o027


def is_shared(directory: Path) -> bool:
    """True if the group may list and enter the directory."""
    try:
        return directory.stat().st_mode & _GROUP_ENTERS == _GROUP_ENTERS
    except OSError:
        return False


def make_study_directory(path: Path, *, is_for_group: bool) -> None:
    """Creates the directory of a study, whose parent exists. Raises OSError if it exists."""
    path.mkdir(mode=_OWNER_ENTERS)
    if is_for_group:
        _add(path, _GROUP_ENTERS)


def make_directory(path: Path, *, exist_ok: bool = True) -> None:
    """Creates a directory in a study, with those above it. Raises FileExistsError for a file, or if not `exist_ok`."""
    shared = is_shared(path.parent)
    try:
        path.mkdir(mode=_OWNER_ENTERS | (_GROUP_ENTERS if shared else 0))
    except FileNotFoundError:
        make_directory(path.parent)
        make_directory(path, exist_ok=exist_ok)
    except FileExistsError:
        if not exist_ok or not path.is_dir():
            raise
    if shared:  # the umask may have removed it, also from one that another process made a moment ago
        _add(path, _GROUP_ENTERS)


def open_file(path: Path, flags: int, mode: int = PRIVATE) -> int:
    """Opens a file of a study as os.open(), and lets the group read it if it may read the directory."""
    fd = os.open(path, flags, mode)
    if flags & os.O_CREAT and is_shared(path.parent):
        found = os.fstat(fd)
        if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & stat.S_IRGRP:
            os.fchmod(fd, stat.S_IMODE(found.st_mode) | stat.S_IRGRP)
    return fd


def umask_for(directory: Path) -> int | None:
    """Returns the umask for programs that write there; None if the user's own is right."""
    return _SHARED_UMASK if is_shared(directory) else None


def _add(directory: Path, bits: int) -> None:
    found = directory.stat()
    if found.st_uid == os.geteuid() and found.st_mode & bits != bits:
        directory.chmod(stat.S_IMODE(found.st_mode) | bits)
