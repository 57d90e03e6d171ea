"""Runs a command on a pseudo-terminal of its own, and looks at what it does to it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

LIMIT_S = 30
ALTERNATE, NORMAL, HIDDEN, VISIBLE = b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[?25l", b"\x1b[?25h"


@dataclass
class PtyScreen:
    """A running command, and everything that it has written so far."""

    process: subprocess.Popen[bytes]
    leader: int
    follower: int
    before: list[Any]
    seen: bytearray = field(default_factory=bytearray)

    @property
    def modes(self) -> list[Any]:
        return termios.tcgetattr(self.follower)

    @property
    def echoes(self) -> bool:
        return bool(self.modes[3] & termios.ECHO)

    @property
    def text(self) -> str:
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.seen.decode())

    def type(self, keys: bytes) -> None:
        os.write(self.leader, keys)

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.leader, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def until(self, text: str) -> None:
        """Reads until the text was written, not counting what was read before."""
        begin, end = len(self.text), time.monotonic() + LIMIT_S
        while text not in self.text[begin:]:
            assert time.monotonic() < end, f"{text!r} is not in {self.text!r}"
            self._read()

    def ended(self) -> int:
        """Reads to the end of the process; returns its exit status."""
        end = time.monotonic() + LIMIT_S
        while self.process.poll() is None:
            assert time.monotonic() < end, self.text
            self._read()
        while self._read():
            pass
        return self.process.returncode

    def stopped(self) -> bool:
        """Reads until the process is stopped; False if it ends instead."""
        end = time.monotonic() + LIMIT_S
        while True:
            pid, status = os.waitpid(self.process.pid, os.WUNTRACED | os.WNOHANG)
            if pid:
                self._read()
                return os.WIFSTOPPED(status)
            assert time.monotonic() < end, self.text
            self._read()

    def _read(self) -> bool:
        ready, _, _ = select.select([self.leader], [], [], 0.1)
        if ready:
            self.seen.extend(os.read(self.leader, 65536))
        return bool(ready)

    def typed_ahead(self) -> bytes:
        """Reads what a shell would get once the process has ended."""
        raw = [*self.modes]
        raw[3] &= ~termios.ICANON
        termios.tcsetattr(self.follower, termios.TCSANOW, raw)
        return os.read(self.follower, 4096) if select.select([self.follower], [], [], 0)[0] else b""

    def assert_given_back(self) -> None:
        """The terminal is as it was: modes, alternate screen, cursor."""
        assert self.modes == self.before
        assert self.seen.count(ALTERNATE) == self.seen.count(NORMAL) > 0
        assert self.seen.count(HIDDEN) == self.seen.count(VISIBLE) > 0
        assert max(self.seen.rfind(ALTERNATE), self.seen.rfind(HIDDEN)) < self.seen.rfind(NORMAL)
        assert self.seen.rfind(HIDDEN) < self.seen.rfind(VISIBLE)


def _own_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def on_a_terminal(words: Sequence[str], *, columns: int = 80, rows: int = 24, **variables: str) -> Iterator[PtyScreen]:
    """Runs `hposlurm` with these words on a terminal of that size, which controls it as a shell's would."""
    leader, follower = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", **variables}
    for name in ("COLUMNS", "LINES", "NO_COLOR"):
        environment.pop(name, None)
    fcntl.ioctl(leader, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    before = termios.tcgetattr(follower)
    command = [sys.executable, "-m", "hposlurm", *words]
    streams = {"stdin": follower, "stdout": follower, "stderr": follower}
    with subprocess.Popen(
        command, **streams, env=environment, start_new_session=True, preexec_fn=_own_terminal
    ) as process:
        try:
            yield PtyScreen(process, leader, follower, before)
        finally:
            process.kill()
    os.close(leader)
    os.close(follower)
