"""Makes node-local directories: one per attempt, and one that keeps compiled PyTorch extensions between attempts."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
import zlib
from collections.abc import Mapping
from pathlib import Path

from hposlurm.records import trees

_PREFIX = "hposlurm-attempt-"
# A lock or a directory is created a moment before its owner visibly holds it
_YOUNG_S = 10.0


def create(environ: Mapping[str, str], fallback: Path) -> Path:
    """Creates a private directory under TMPDIR, /tmp or /var/tmp, else under `fallback`. Raises OSError if all refuse.

    Its path is short: sockets of worker processes lie in it, and their paths have at most 107 bytes.
    """
    name = f"{_PREFIX}{os.urandom(4).hex()}"
    for base in (*_bases(environ), fallback):
        with contextlib.suppress(OSError):
            (base / name).mkdir(mode=0o700)
            with contextlib.suppress(
                OSError
            ):  # some file systems have no locks: then `sweep` cannot lock either, and leaves it
                _lock(base / name)  # until this process ends
            return base / name
    raise OSError(f"no temporary directory can be created under TMPDIR, /tmp, /var/tmp or {fallback}")


def remove(scratch: Path) -> None:
    """Removes an attempt's directory with its content, as far as it can be removed.

    What the training code has mounted there (sshfs, squashfuse) is left, and so is all that links lead to.
    """
    trees.remove_tree(scratch)


def sweep(beside: Path) -> None:
    """Removes this user's attempt directories beside `beside` whose workers were killed together with their watchdogs.

    Slurm kills both when KillWait is over. A living worker holds a lock on its directory.
    """
    for path in beside.parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if path != beside and _is_private(path) and time.time() - path.stat().st_mtime > _YOUNG_S:
                fd = _lock(path)
                remove(path)
                os.close(fd)


def extensions_directory(environ: Mapping[str, str]) -> Path | None:
    """Returns the directory in which this user's attempts on this node share compiled extensions.

    None without a private one. Building an extension takes as long as a small trial (DeepSpeed's on the CPU: 15 s), so
    attempts share it. PyTorch does not separate Python environments in a directory set by TORCH_EXTENSIONS_DIR, so this
    path does.
    """
    kinds = "\0".join(environ.get(name, "") for name in ("PATH", "VIRTUAL_ENV", "CONDA_PREFIX", "LD_LIBRARY_PATH"))
    for base in _bases(environ):
        root = base / f"hposlurm-shared-{os.getuid()}"
        with contextlib.suppress(OSError):
            root.mkdir(mode=0o700, exist_ok=True)
            if _is_private(root):  # the name can be guessed, and code of another user must not be loaded
                path = root / "torch_extensions" / f"{zlib.crc32(kinds.encode(errors='surrogateescape')):08x}"
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
                return path
    return None


def remove_stale_locks(extensions: Path, now: float | None = None) -> None:
    """Removes locks of builds whose process was killed: PyTorch waits for such a lock for ever.

    The process that builds keeps its lock file open (torch.utils.file_baton), so a lock that no process has open is
    stale.
    """
    with contextlib.suppress(OSError), trees.opened(extensions) as directory:
        for name in trees.names(directory):
            with contextlib.suppress(OSError), trees.opened_below(directory, name, extensions / name) as build:
                status = os.lstat("lock", dir_fd=build)
                age_s = (time.time() if now is None else now) - status.st_mtime
                if stat.S_ISREG(status.st_mode) and age_s > _YOUNG_S and not _is_open(extensions / name / "lock"):
                    os.unlink("lock", dir_fd=build)


def _lock(directory: Path) -> int:
    """Locks a node-local directory and returns its descriptor; raises OSError if another process has the lock."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise
    return fd


def _bases(environ: Mapping[str, str]) -> list[Path]:
    return [Path(base) for base in (environ.get("TMPDIR"), "/tmp", "/var/tmp") if base]


def _is_private(directory: Path) -> bool:
    status = directory.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022


def _is_open(path: Path) -> bool:
    """True if a process of this user has the file open, or if that cannot be found out."""
    if not Path("/proc/self/fd").exists():
        return True
    wanted = os.path.realpath(path)
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            with contextlib.suppress(OSError):
                if any(_target(fd) == wanted for fd in (process / "fd").iterdir()):
                    return True
    return False


def _target(link: Path) -> str:
    try:
        return os.readlink(link)  # noqa: PTH115 - text, compared thousands of times
    except OSError:
        return ""
