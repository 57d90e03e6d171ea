"""Decides whether this user may trust a study directory: a study is commands that are run. Standard library only.

A study is acted upon (launched, continued, cancelled, cleaned up, its trials run) only if its directory belongs to this
user and no one else can write to it. The directories above it are a question of who can put another one in its place:

- refused: one that every user may write, unless it is sticky as /tmp is; and one of another user who could make it
  because the directory above it is open to every user;
- accepted with a note that says what to do: one that belongs to another user, or that a group may write;
- accepted: all others, which belong to root or to this user.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hposlurm.errors import RequestError

# As many links as the kernel follows (path_resolution(7))
_MOST_LINKS = 40
_OVERFLOW = 65534  # the owner of files of users that a user namespace does not have (user_namespaces(7))


@dataclass(frozen=True, slots=True)
class _Part:
    """A directory or link on the way to a study."""

    path: Path
    status: os.stat_result

    @property
    def is_open(self) -> bool:
        """True if every user may create files in it."""
        return bool(self.status.st_mode & stat.S_IWOTH)

    @property
    def is_sticky(self) -> bool:
        return bool(self.status.st_mode & stat.S_ISVTX)

    @property
    def is_foreign(self) -> bool:
        """True if it belongs to a user other than root and this one."""
        owner = self.status.st_uid
        return owner not in (0, os.geteuid()) and owner not in _roots()

    @property
    def is_of_group(self) -> bool:
        """True if a group with other members may create files in it."""
        return bool(self.status.st_mode & stat.S_IWGRP) and not _is_private(self.status.st_gid)


def check_own(directory: Path) -> tuple[str, ...]:
    """Returns notes on the directories above the study `directory`, which does not have to exist yet.

    Raises RequestError if another user owns it, or may write to it or put another one in its place.
    """
    parts = [*_way(directory)]
    if parts[-1].path != Path(os.path.realpath(directory)):  # it does not exist
        return tuple(_notes(parts))
    notes = tuple(_notes(parts[:-1]))
    for part in (_opened(parts[-1].path), *_inside(directory)):
        _check_private(part)
    return notes


def share_notes(directory: Path) -> Iterator[str]:
    """Yields why the group of a study `directory` with `share: group`, which may not exist yet, cannot read it."""
    parts = [part for part in _way(directory) if stat.S_ISDIR(part.status.st_mode) and part.path != directory]
    above = parts[-1]
    group = above.status.st_gid if above.status.st_mode & stat.S_ISGID else os.getegid()
    name = _group_name(group)
    if _is_private(group):
        yield (
            f"share: group lets the group {name} read the study, and it has no other members; `chgrp GROUP "
            f"{above.path}` and `chmod g+s {above.path}` give new studies there another group"
        )
    for part in parts:
        is_ours = part.status.st_gid == group
        if not part.status.st_mode & (stat.S_IXGRP if is_ours else stat.S_IXOTH):
            cure = f"chmod {'g' if is_ours else 'o'}+x {part.path}"
            yield f"share: group has no effect, since the group {name} cannot enter {part.path}: {cure}"


def link_of_others(path: Path) -> Path | None:
    """Returns the first link on the way to `path`, itself included, in a directory that other users may write to."""
    holder: _Part | None = None
    for part in _way(path):
        if not stat.S_ISLNK(part.status.st_mode):
            holder = part
        elif holder is not None and (holder.is_open or holder.is_of_group or holder.is_foreign):
            return part.path
    return None


def _opened(directory: Path) -> _Part:
    """Returns the directory as its descriptor shows it: what is opened by a path may have been exchanged."""
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:  # this user may not read it
        return _Part(directory, os.lstat(directory))
    try:
        return _Part(directory, os.fstat(fd))
    finally:
        os.close(fd)


def _way(path: Path) -> Iterator[_Part]:
    """Yields each directory and each link on the way to `path`, from / on, up to the first that does not exist."""
    waiting, here, links = [*reversed(path.parts[1:])], Path("/"), 0
    yield _Part(here, os.lstat(here))
    while waiting:
        name = waiting.pop()
        if name == "..":
            here = here.parent
            continue
        try:
            part = _Part(here / name, os.lstat(here / name))
        except OSError:  # it does not exist, or this user may not look
            return
        yield part
        if not stat.S_ISLNK(part.status.st_mode):
            here = part.path
            continue
        links += 1
        if links > _MOST_LINKS:
            raise RequestError(f"{path} leads through too many links")
        target = part.path.readlink()
        here = Path("/") if target.is_absolute() else here
        waiting += reversed([name for name in target.parts if name != "/"])


def _inside(directory: Path) -> Iterator[_Part]:
    """Yields the directories of a study in which records are created."""
    for name in ("waves", "trials"):
        try:
            yield _Part(directory / name, (directory / name).stat())
        except OSError:
            continue


def _notes(parts: list[_Part]) -> Iterator[str]:
    """Yields the notes on directories and links above a study. Raises RequestError for one that is not acceptable."""
    holder: _Part | None = None
    for part in parts:
        if part.is_foreign and holder is not None and holder.is_open:
            owner = user_name(part.status.st_uid)
            raise RequestError(
                f"{part.path} belongs to {owner}, and every user may create such a directory in {holder.path}: {owner} "
                "could put commands there that you would run; choose another place (HPOSLURM_RUNS)"
            )
        if not stat.S_ISLNK(part.status.st_mode):
            yield from _notes_on(part)
            holder = part
        elif part.is_foreign:
            yield f"the link {part.path} belongs to {user_name(part.status.st_uid)}, who can let it lead elsewhere"


def _notes_on(directory: _Part) -> Iterator[str]:
    path = directory.path
    if directory.is_open and not directory.is_sticky:
        raise RequestError(
            f"every user may rename what is in {path}, and put there what you would run: chmod o-w {path} (or chmod +t "
            f"{path}: users can then rename only their own files)"
        )
    if directory.is_foreign:
        yield f"{path} belongs to {user_name(directory.status.st_uid)}, who can rename or replace what is in it"
    elif directory.is_of_group and not directory.is_sticky:
        group = _group_name(directory.status.st_gid)
        yield (
            f"every member of the group {group} can rename or replace what is in {path}; chmod g-w {path} "
            f"prevents it (or chmod +t {path}: they can then rename only their own files)"
        )


def _check_private(part: _Part) -> None:
    """Raises RequestError unless only this user may write to the directory."""
    me, path = os.geteuid(), part.path
    if part.status.st_uid != me:
        raise RequestError(
            f"{path} belongs to {user_name(part.status.st_uid)}, and you are {user_name(me)}: only its owner "
            "acts on a study (status, list, logs, collect, best and explain read it)"
        )
    if part.is_open or part.is_of_group:
        who = "every user" if part.is_open else f"every member of the group {_group_name(part.status.st_gid)}"
        raise RequestError(f"{who} may write to {path}, and so change what you would run: chmod go-w {path}")


def _roots() -> set[int]:
    """Returns the id that root has in a user namespace that does not know it, such as a container's; else nothing."""
    try:
        identity = Path("/proc/self/uid_map").read_text().split()
    except OSError:
        return set()
    return set() if identity[:2] == ["0", "0"] and len(identity) == 3 else {_OVERFLOW}


def _is_private(group: int) -> bool:
    """True for root's group, and for a group of this user's name without other members (umask 002 on many systems)."""
    if group == 0:
        return True
    try:
        found, me = grp.getgrgid(group), pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return False
    return found.gr_name == me and {*found.gr_mem} <= {me}


def user_name(uid: int) -> str:
    """Returns the name of a user; "user 1001" if it has none here."""
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user {uid}"


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
