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
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from hposlurm.worker import shell
from hposlurm.worker.inbox import held, shield

MARKER = "HPOSLURM_METRICS_FILE"
_PR_SET_CHILD_SUBREAPER = 36  # prctl(2), Linux
_ROUNDS = 20


class Command:
    """A running shell command; `scratch` is the attempt's own directory, `environment` names it under MARKER."""

    def __init__(
        self, line: str, workdir: Path, environment: Mapping[str, str], log: int, stop_signal: str | None = None
    ) -> None:
        """Starts `line`, which may handle `stop_signal`. Raises OSError or ValueError if it cannot be started."""
        self._marker = environment[MARKER]
        self._stop = signal.Signals[f"SIG{stop_signal}"] if stop_signal else None
        self._has_shell = shell.has_several_programs(line)
        _adopt_orphans()
        with held():
            self._process = subprocess.Popen(
                shell.words(line, stop_signal),
                cwd=workdir,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=partial(shield, self._stop),
            )

    def poll(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._process.poll()

    def ask(self) -> bool:
        """Sends the stop signal to those that handle it, and returns True if there were any.

        Of a handler's descendants it is the handler's affair: torchrun passes the signal on, PyTorch's data loaders
        would die of it. The shell of several programs only learns that it is to start no other one.
        """
        if self._stop is None:
            return False
        found = [pid for pid in _marked(self._marker) if _handles(pid, self._stop)]
        own = self._process.pid if self._has_shell else None
        handlers = {pid for pid in found if pid != own}
        asked = [pid for pid in handlers if not handlers & set(_ancestors(pid))]
        for pid in (*asked, *(pid for pid in found if pid == own and asked)):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, self._stop)
        return bool(asked)

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
    for _ in range(_ROUNDS):
        found = _marked(marker)
        if not found:
            return
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)


def _marked(marker: str) -> list[int]:
    needle = os.fsencode(f"{MARKER}={marker}")
    return [pid for pid in _processes() if needle in _environment(pid)]


def _handles(pid: int, number: signal.Signals) -> bool:
    """True if the process has a handler for the signal, by the mask in /proc."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
        mask = next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt:"))
    except (OSError, ValueError, StopIteration):
        return False
    return bool(mask >> (number - 1) & 1)


def _ancestors(pid: int) -> Iterator[int]:
    while pid > 1:
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            return
        yield pid


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
