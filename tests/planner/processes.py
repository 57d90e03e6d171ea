"""Planner steps in real processes, which can die: forked, so that a step costs no start of an interpreter."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable

import submitit  # noqa: F401 - a step that submits imports it: not again in each of its processes

from hposlurm.backend.slurm import SlurmBackend
from hposlurm.planner import advance
from hposlurm.records.fail_points import VARIABLE
from hposlurm.records.layout import StudyLayout
from hposlurm.spec import StudySpec


def begin(action: Callable[[], object], fail_point: str = "") -> int:
    """Starts `action` in a new process and returns its id."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.environ[VARIABLE] = fail_point
            action()
            status = 0
        except BaseException:  # the child must not return into pytest
            traceback.print_exc()
        finally:
            os._exit(status)
    return pid


def end(pid: int) -> int:
    """Waits for a process and returns its exit status, negative for the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def step(layout: StudyLayout, spec: StudySpec, fail_point: str = "") -> int:
    """Runs one planner step in a process and returns its exit status."""
    return end(begin(lambda: advance(layout, spec, SlurmBackend()), fail_point))
