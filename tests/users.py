"""Runs functions as other users of this machine, where this process may."""

from __future__ import annotations

import os
import pickle
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

T = TypeVar("T")

#: Two users that no machine has; Linux needs no account for a user id.
ALICE, MALLORY = 54_321, 54_322

needs_users = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become two other users: run it as root")


def as_user(uid: int, function: Callable[[], T], umask: int = 0o022, groups: Sequence[int] = ()) -> T:
    """Returns what the function returns in a forked process of the user `uid`, whose group has the same number."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.umask(umask)
            os.setgroups([*groups])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            answer: tuple[bool, object] = (True, function())
        except BaseException:
            answer = (False, traceback.format_exc())
        with os.fdopen(write, "wb") as file:
            pickle.dump(answer, file)
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as file:
        is_returned, value = pickle.load(file)
    os.waitpid(child, 0)
    assert is_returned, value
    return value


@pytest.fixture
def shared() -> Iterator[Path]:
    """A sticky directory in which every user may create files, as /tmp is."""
    path = Path(tempfile.mkdtemp(prefix="hposlurm-shared-"))
    path.chmod(0o1777)
    yield path
    shutil.rmtree(path)
