"""Checks the study root without writing: its place, its file system and its free space."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hposlurm.doctor.finding import Finding, fail, ok, unknown, warn

_GB = 1024**3
_LITTLE_BYTES, _NO_BYTES = 10 * _GB, _GB // 10
_FEW_INODES, _NO_INODES = 100_000, 1_000

#: Shared file systems on which link() and rename() are atomic between nodes.
SHARED = {"lustre", "gpfs", "beegfs", "fhgfs", "ceph", "wekafs", "panfs", "orangefs", "pvfs2", "gfs2", "ocfs2", "vast"}
LOCAL = {"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "overlay", "f2fs", "reiserfs"}
MEMORY = {"tmpfs", "ramfs"}
#: File systems that may refuse links, or show a rename late on other nodes.
DOUBTFUL = {"cifs", "smb3", "smbfs", "afs", "9p", "vboxsf", "fuse.sshfs", "fuse.s3fs", "fuse.gcsfuse", "fuse.rclone"}
# The mount options that matter to a program that only appends, links and renames; all would make the line long
_RELEVANT = re.compile(r"(ro|rw|soft|hard|vers=.*|ac\w*=.*|noac|lookupcache=.*|nolock|local_lock=.*|\w*flock|timeo=.*)")


@dataclass(frozen=True, slots=True)
class Mount:
    """A line of /proc/mounts."""

    source: str
    point: str
    kind: str
    options: tuple[str, ...]


def parse_mounts(text: str) -> list[Mount]:
    """Returns the mounts in /proc/mounts in order, with octal escapes (a space is \\040) resolved."""
    rows = (line.split() for line in text.splitlines())
    return [Mount(_plain(r[0]), _plain(r[1]), r[2], tuple(r[3].split(","))) for r in rows if len(r) >= 4]


def _plain(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), text)


def mount_of(path: Path, mounts: Sequence[Mount]) -> Mount | None:
    """Returns the mount of `path` (absolute, without links): the deepest one; the last of several at one point."""
    parents = {str(path), *(str(parent) for parent in path.parents)}
    best: Mount | None = None
    for mount in mounts:
        if mount.point in parents and (best is None or len(mount.point) >= len(best.point)):
            best = mount
    return best


def existing_part(root: Path) -> Path:
    """Returns the root itself, or the nearest parent that exists (`launch` creates the rest)."""
    path = root.absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    return path.resolve()


def root_directory(root: Path) -> Finding:
    place = existing_part(root)
    exists = root.exists()
    found = str(root) if exists else f"{root} (does not exist yet; launch creates it)"
    if not place.is_dir():
        return fail("root", f"{place} is a file", "name another directory: --root, or HPOSLURM_RUNS")
    if not os.access(place, os.W_OK | os.X_OK):
        return fail("root", f"you may not write in {place}", "name another directory: --root, or HPOSLURM_RUNS")
    return ok("root", found)


def file_system(root: Path, mounts: Sequence[Mount], *, is_cluster: bool) -> Finding:
    """Checks type and mount options of the root's file system. Lock options do not matter: hposlurm uses no locks."""
    name = "file_system"
    mount = mount_of(existing_part(root), mounts)
    if mount is None:
        return unknown(name, "/proc/mounts does not list it", "--probe tests what matters: append, link, rename")
    relevant = ",".join(option for option in mount.options if _RELEVANT.fullmatch(option))
    found = f"{mount.kind} at {mount.point} ({relevant})"
    if "ro" in mount.options:
        return fail(name, found, "it is mounted read-only here: name another directory (--root, HPOSLURM_RUNS)")
    if mount.kind.startswith("nfs"):
        return _nfs(found, mount)
    if mount.kind in SHARED:
        return ok(name, f"{found}; locks do not matter, hposlurm uses none")
    if mount.kind in DOUBTFUL:
        return warn(
            name, found, "links and renames may not be atomic between nodes there; --probe tests them on this one"
        )
    if mount.kind in MEMORY:
        return warn(name, found, "this is the machine's memory: a reboot deletes all studies; use a disk (--root)")
    if mount.kind in LOCAL:
        if is_cluster:
            return warn(name, found, "a local file system: do the compute nodes see it? --probe tests it")
        return ok(name, found)
    return unknown(name, found, "hposlurm does not know it; --probe tests what matters: append, link, rename")


def _nfs(found: str, mount: Mount) -> Finding:
    options = set(mount.options)
    if "soft" in options or "softerr" in options:
        return warn("file_system", found, "soft mount: a pause of the server causes lost records; ask for a hard mount")
    if {"vers=2"} & options:
        return warn("file_system", found, "NFS 2 cannot create exclusively: ask for vers=4.2")
    seconds = [int(m.group(1)) for o in options if (m := re.fullmatch(r"(?:acdirmax|actimeo)=(\d+)", o))]
    if seconds and max(seconds) > 60:
        advice = f"new files may stay invisible for {max(seconds)} s: the planner waits; ask for acdirmax=60"
        return warn("file_system", found, advice)
    return ok("file_system", f"{found}; new files may appear late, which is expected; locks do not matter")


def space(root: Path) -> Finding:
    """Checks the space for data and for files. Quotas are not included in these numbers."""
    stat = os.statvfs(existing_part(root))
    free, inodes = stat.f_bavail * stat.f_frsize, stat.f_favail
    has_inodes = stat.f_files > 0  # some file systems create inodes on demand
    counted = f"{count(inodes)} inodes" if has_inodes else "inodes without limit"
    found = f"{size(free)} and {counted} free (without quotas)"
    if free < _NO_BYTES or (has_inodes and inodes < _NO_INODES):
        return fail("space", found, "a study needs more than this: free some space, or name another directory (--root)")
    if free < _LITTLE_BYTES or (has_inodes and inodes < _FEW_INODES):
        return warn("space", found, "checkpoints may fill this: free some space, or name another directory (--root)")
    return ok("space", found)


def size(number: float) -> str:
    """Returns bytes in a readable unit: "12 GiB"."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if number < 1024 or unit == "TiB":
            break
        number /= 1024
    return f"{number:.3g} {unit}"


def count(number: int) -> str:
    """Returns a count in readable form: "3.4 million"."""
    return f"{number / 1e6:.3g} million" if number >= 1_000_000 else str(number)
