"""Runs the trial's command as a process tree, in a session of its own, and ends it with everything that it started.

Ranks of torchrun run in sessions of their own, so a process group is not enough to find them. Every descendant carries
the attempt's metrics file in its environment, a path that no other attempt has. It is found by that.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from hposlurm.worker import shell
from hposlurm.worker.inbox import held, shield

MARKER = "HPOSLURM_METRICS_FILE"
_PR_SET_CHILD_SUBREAPER = 36  # prctl(2), Linux
_ROUNDS = 20


class Command:
    """A running shell command; `scratch` is the attempt's own directory, `environment` names it under MARKER."""

    def __init__(self, line: str, workdir: Path, environment: Mapping[str, str], log: int) -> None:
        """Starts `line`; raises OSError or ValueError if it cannot be started."""
        self._marker = environment[MARKER]
        _adopt_orphans()
        with held():
            self._process = subprocess.Popen(
                shell.words(line),
                cwd=workdir,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=shield,
            )

    def poll(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._process.poll()

    def kill(self) -> None:
        """Kills the command and everything that it started, with SIGKILL."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        kill_marked(self._marker)


def peak_host_gb() -> float:
    """Returns the largest resident memory in GiB of any single process among the ended descendants of this one.

    It is not their sum: of eight ranks it is that of the largest. Pages that ranks share count in each.
    """
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)  # bytes there, KiB on Linux


def kill_marked(marker: str) -> None:
    """Kills every process of this user whose environment has `marker` as MARKER, until none is left (Linux only)."""
    needle = os.fsencode(f"{MARKER}={marker}")
    for _ in range(_ROUNDS):
        found = [pid for pid in _processes() if needle in _environment(pid)]
        if not found:
            return
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)


def _processes() -> list[int]:
    try:
        names = os.listdir("/proc")  # noqa: PTH208 - only names are wanted, thousands of them
    except OSError:
        return []
    return [int(name) for name in names if name.isdecimal()]


def _environment(pid: int) -> list[bytes]:
    """Returns the environment with which a process started; [] for a zombie or another user's process."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read().split(b"\0")
    except OSError:
        return []


def _adopt_orphans() -> None:
    """Makes this process the parent of orphaned descendants, since the first process of a container reaps none."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def reap_orphans() -> None:
    """Reaps the processes that were killed and adopted; gives up on one that does not die (a hung disk)."""
    for _ in range(_ROUNDS):
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.005)
