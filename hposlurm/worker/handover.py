"""Copies another trial's checkpoint into the directory of a trial that begins with it. Standard library only.

It is a copy and not a link: training code may write into its files again and may delete old checkpoints. That is also
why the trial that runs first makes the copy, be it the new trial or the one that is copied from.
"""

from __future__ import annotations

import errno
import filecmp
import os
import shutil
import stat
from pathlib import Path

from hposlurm.errors import StudyError
from hposlurm.records.assignment import Assignment
from hposlurm.records.checkpoint_directory import CheckpointDirectory, open_checkpoints
from hposlurm.records.checkpoint_files import TRAINER_STATE, problem_of, problem_without_mark
from hposlurm.records.files import create_once, make_durable
from hposlurm.records.layout import COMPLETE, StudyLayout, marker_of
from hposlurm.records.permissions import make_directory
from hposlurm.records.plan import WavePlan
from hposlurm.worker.recorder import say

#: Begins the names of copies that are not complete yet.
COPY = ".copy-"


def hand_over(study: StudyLayout, plan: WavePlan, trial: int, attempt: int) -> None:
    """Copies the checkpoints of this trial with which other trials of the wave begin, before it trains on."""
    own = study.trial(trial).checkpoints
    for assignment in plan.assignments:
        if assignment.resume_from is None or assignment.trial == trial:
            continue
        if (study.root / assignment.resume_from).parent != own:
            continue
        try:
            take_over(study, assignment, attempt)
        except (OSError, StudyError) as error:  # the other trial will try for itself, and fail if it cannot
            say(f"trial {assignment.trial} cannot be given a copy of {assignment.resume_from}: {error}")


def take_over(study: StudyLayout, assignment: Assignment, attempt: int) -> Path | None:
    """Returns the copy of the checkpoint with which the assignment begins, and makes it if needed.

    None if there is none. Raises StudyError if that checkpoint is gone or not whole, and OSError if it cannot be
    copied.
    """
    if assignment.resume_from is None:
        return None
    source, directory = study.root / assignment.resume_from, study.trial(assignment.trial).checkpoints
    target = directory / source.name
    if marker_of(target).exists():
        return target
    is_marked = marker_of(source).exists()
    if not (is_marked or (source / TRAINER_STATE).exists()):
        problem = "it is gone, or not marked"
    else:
        problem = problem_of(source) if is_marked else problem_without_mark(source)
    if problem:
        raise StudyError(f"the checkpoint to begin with, {assignment.resume_from}, cannot be used: {problem}")
    make_directory(directory)
    name = f"{COPY}{source.name}-{os.getpid()}-{attempt}"
    with open_checkpoints(directory) as own:
        try:
            _copy_whole(source, directory / name)
            _publish(own, name, target)
        finally:
            own.remove(name)
    return target


def _copy_whole(source: Path, copy: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, copy, copy_function=_copy)
        create_once(copy / COMPLETE, b"")  # a whole one of the Trainer may have none
    else:
        _copy(source, copy)
    make_durable(copy)


def _publish(directory: CheckpointDirectory, name: str, target: Path) -> None:
    """Gives the copy its name; another process may have made the same copy. Raises OSError if the name is in use."""
    copy = directory.path / name
    if copy.is_dir():
        try:
            directory.rename(name, target.name)  # fails if there is a directory with content, or a file
        except OSError:
            if not marker_of(target).exists():
                raise
        return
    try:
        os.link(name, target.name, src_dir_fd=directory.fd, dst_dir_fd=directory.fd, follow_symlinks=False)
    except OSError:
        if directory.has(target.name):
            if not filecmp.cmp(copy, target, shallow=False):
                raise
        else:  # a file system without hard links
            directory.rename(name, target.name)
    create_once(marker_of(target), b"")


def _copy(source: str | Path, target: str | Path) -> None:
    """Copies in the kernel where that works: some file systems share the blocks, others avoid the network.

    Raises OSError for a pipe or a device, from which no end would ever be read.
    """
    with open(os.open(source, os.O_RDONLY | os.O_NONBLOCK), "rb") as read, open(target, "xb") as written:
        status = os.fstat(read.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(source))
        left = status.st_size
        try:
            while left > 0 and (done := os.copy_file_range(read.fileno(), written.fileno(), left)):
                left -= done
        except (OSError, AttributeError):
            read.seek(0)
            written.seek(0)
            written.truncate()
            shutil.copyfileobj(read, written, 1024 * 1024)
            return
        shutil.copyfileobj(read, written, 1024 * 1024)  # what the kernel stopped short of
