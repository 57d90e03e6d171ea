"""Signals to the worker, received one by one in its loop and never in the middle of something."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Iterator

# What Slurm or a person sends: preemption and scancel, the time limit ahead, Ctrl-C
REQUESTS = (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT)


class Inbox:
    """Collects the signals of `REQUESTS`; SIGCHLD only wakes the waiter."""

    def __init__(self) -> None:
        self._read_end, write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        os.set_blocking(write_end, False)
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        for number in (*REQUESTS, signal.SIGCHLD):
            signal.signal(number, _arrived)

    def wait(self, timeout_s: float) -> list[signal.Signals]:
        """Signals that arrived since the last call, oldest first; waits for one up to `timeout_s`."""
        if not select.select([self._read_end], [], [], timeout_s)[0]:
            return []
        numbers = os.read(self._read_end, 4096)
        return [signal.Signals(n) for n in numbers if n in REQUESTS]


def _arrived(_number: int, _frame: object) -> None:
    """The interpreter has written the number to the inbox already."""


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Holds requests back while a process forks, so that the child does not put them into the parent's inbox."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, REQUESTS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def shield(stop: signal.Signals | None = None) -> None:
    """Makes a forked child ignore what Slurm sends to every process of a step. exec and all its children keep that.

    `stop` stays as it is by default, for a command that handles it: bash cannot trap what it ignores at its start.
    The price: when one rank fails, torchrun's SIGTERM to the others has no effect, and it kills them 30 s later.
    """
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    for number in (signal.SIGTERM, signal.SIGUSR2):
        signal.signal(number, signal.SIG_DFL if number == stop else signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, REQUESTS)
