"""Runs a tiny process that ends the command if the worker is killed and cannot do so itself.

It reads from a pipe whose other end only the worker holds. A byte means that the command has ended, the end of the file
that the worker died. It ignores what Slurm sends to every process of the step.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from hposlurm.worker.inbox import held, shield
from hposlurm.worker.process import kill_marked
from hposlurm.worker.scratch import remove


class Watchdog:
    """Guards the command that carries `marker` in its environment, and its `scratch` directory."""

    def __init__(self, marker: str, scratch: Path) -> None:
        read_end, self._write_end = os.pipe()
        with held():
            self._pid = os.fork()
            if self._pid == 0:
                _guard(read_end, marker, scratch)
        os.close(read_end)

    def dismiss(self) -> None:
        """Ends the watchdog; the command has ended."""
        with contextlib.suppress(OSError):
            os.write(self._write_end, b"x")
        os.close(self._write_end)
        with contextlib.suppress(OSError):
            os.kill(self._pid, signal.SIGCONT)  # the command may have stopped every process of its user
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)


def _guard(read_end: int, marker: str, scratch: Path) -> None:
    """Runs the watchdog; never returns."""
    try:
        shield()
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        os.setsid()
        _close_all_but(read_end)
        if not os.read(read_end, 1):
            kill_marked(marker)
            remove(scratch)
    finally:
        os._exit(0)


def _close_all_but(kept: int) -> None:
    """Closes inherited descriptors: the worker's end of the pipe, and logs whose readers wait for their end."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nothing, fd)
    os.closerange(3, kept)
    os.closerange(kept + 1, os.sysconf("SC_OPEN_MAX"))
