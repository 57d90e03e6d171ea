"""The checkpoint directory of a trial, opened so that nothing outside it can be deleted or renamed.

Training code writes there, and people replace it by a link to a larger disk. Only that one link is followed. Standard
library only.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hposlurm.records import trees
from hposlurm.records.layout import COMPLETE


@dataclass(frozen=True, slots=True)
class CheckpointDirectory:
    """An open checkpoint directory. Its methods take names of its entries and follow no link."""

    fd: int
    path: Path
    #: True if the directory is a link: other trials, or other programs, may use it too.
    is_linked: bool

    def names(self) -> list[str]:
        return sorted(trees.names(self.fd))

    def has(self, name: str) -> bool:
        return trees.exists(self.fd, name)

    def is_own(self, name: str) -> bool:
        """True if this user owns the entry."""
        return os.lstat(name, dir_fd=self.fd).st_uid == os.geteuid()

    def is_marked(self, name: str) -> bool:
        """True if the mark lies in the entry, a directory, or beside it."""
        try:
            if not stat.S_ISDIR(os.lstat(name, dir_fd=self.fd).st_mode):
                return _is_file(self.fd, f"{name}.{COMPLETE}")
            with trees.opened_below(self.fd, name, self.path / name) as inside:
                return _is_file(inside, COMPLETE)
        except OSError:
            return False

    def used_bytes(self, name: str) -> int:
        return trees.used_bytes(self.fd, name)

    def unmark(self, name: str) -> None:
        """Removes the entry's mark, if it has one. Raises OSError."""
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISDIR(os.lstat(name, dir_fd=self.fd).st_mode):
                os.unlink(f"{name}.{COMPLETE}", dir_fd=self.fd)
                return
            with trees.opened_below(self.fd, name, self.path / name) as inside:
                os.unlink(COMPLETE, dir_fd=inside)

    def remove(self, name: str) -> list[OSError]:
        """Deletes the entry, its mark first: partly deleted, it must not look complete. Returns the errors."""
        try:
            self.unmark(name)
        except OSError as error:
            return [OSError(error.errno, error.strerror, str(self.path / name))]
        return trees.remove(self.fd, name, self.path / name)

    def rename(self, name: str, target: str) -> None:
        """Gives the entry another name in the same directory. Raises OSError."""
        os.rename(name, target, src_dir_fd=self.fd, dst_dir_fd=self.fd)


def _is_file(directory: int, name: str) -> bool:
    try:
        return stat.S_ISREG(os.lstat(name, dir_fd=directory).st_mode)
    except OSError:
        return False


@contextlib.contextmanager
def open_checkpoints(directory: Path) -> Iterator[CheckpointDirectory]:
    """Opens `directory`, which is STUDY/trials/NUMBER/checkpoints.

    Raises OSError, with the path that is in the way as its filename, if `trials` or the trial is a link, if another
    file system is mounted on one of the three, or if there is no such directory.
    """
    trial, trials = directory.parent, directory.parents[1]
    with (
        trees.opened(directory.parents[2]) as study,
        trees.opened_below(study, trials.name, trials) as all_trials,
        trees.opened_below(all_trials, trial.name, trial) as own,
    ):
        if trees.is_link(own, directory.name):
            with trees.opened(directory) as fd:
                yield CheckpointDirectory(fd, directory, is_linked=True)
        else:
            with trees.opened_below(own, directory.name, directory) as fd:
                yield CheckpointDirectory(fd, directory, is_linked=False)
