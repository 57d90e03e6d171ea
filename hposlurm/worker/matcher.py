"""Matches output lines with the metric pattern in a helper process, which is killed if a line takes too long.

Only `finish` waits for the helper, until a deadline. The line at which a helper was killed is left
out, and the next helper continues after it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from hposlurm.worker import match
from hposlurm.worker.inbox import held
from hposlurm.worker.match import Groups

#: How long the helper may compute for one line, in seconds of its processor time. A usual line takes microseconds.
LINE_S = 2.0
#: The same in seconds that pass, where its processor time is unknown or it gets none.
_SILENT_S = 120.0
_LOOK_S = 1.0  # a helper that has answered in this time is well
_MOST_DEATHS = 3
_PIPE = 2**20  # what an unprivileged process may ask for (/proc/sys/fs/pipe-max-size)
_MOST_WAITING = 16 * 2**20  # bytes of lines: what the helper cannot keep up with stays in the log


class Matcher:
    """A helper process and the lines that it has not answered for."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._process: subprocess.Popen[bytes] | None = None
        self._unsent: deque[bytes] = deque()
        self._sent: deque[bytes] = deque()  # to the helper, which has not answered yet
        self._waiting_bytes = 0
        self._outgoing = memoryview(b"")
        self._incoming = b""
        self._heard_at = self._looked_at = 0.0
        self._used_s: float | None = None
        self._deaths = self._left_out = 0
        #: How many lines were answered for.
        self.seen = 0
        #: Why lines were left out, in words; "" while none was.
        self.complaint = ""

    @property
    def has_room(self) -> bool:
        """True if more lines may be put in."""
        return self._waiting_bytes < _MOST_WAITING

    def put(self, lines: Iterable[bytes]) -> None:
        """Adds lines, without their ends."""
        if self._deaths < _MOST_DEATHS:
            added = list(lines)
            self._unsent.extend(added)
            self._waiting_bytes += sum(map(len, added))

    def take(self) -> list[Groups]:
        """Returns the matches of the lines that were answered for since the last call, in order. Does not wait."""
        found: list[Groups] = []
        while self._is_waiting and self._pump(found):
            pass
        if self._is_waiting:
            self._look(time.monotonic())
        return found

    def finish(self, batches: Iterable[Iterable[bytes]], patience_s: float) -> list[Groups]:
        """Returns the matches of all lines and of those in `batches`, and ends the helper.

        Waits for them for `patience_s` seconds; leaves the others out.
        """
        deadline = time.monotonic() + patience_s
        found: list[Groups] = []
        for batch in batches:
            self.put(batch)
            found += self._answers(deadline, is_enough=lambda: self.has_room)
        found += self._answers(deadline, is_enough=lambda: False)
        if self._is_waiting:
            self._leave_out(len(self._sent) + len(self._unsent), "the trial ended before they were matched")
        self.close()
        return found

    def _answers(self, deadline: float, *, is_enough: Callable[[], bool]) -> list[Groups]:
        found = self.take()
        while self._is_waiting and not is_enough() and (left_s := deadline - time.monotonic()) > 0:
            if self._process is not None and self._process.stdout is not None:
                select.select([self._process.stdout], [], [], min(left_s, 0.1))
            found += self.take()
        return found

    def close(self) -> None:
        """Kills the helper; the lines that it has not answered for wait again."""
        process, self._process = self._process, None
        self._unsent.extendleft(reversed(self._sent))
        self._sent.clear()
        self._outgoing, self._incoming = memoryview(b""), b""
        if process is None:
            return
        process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        process.wait()

    @property
    def _is_waiting(self) -> bool:
        return bool(self._sent or self._unsent)

    def _start(self) -> subprocess.Popen[bytes]:
        """Starts a helper. Raises OSError."""
        command = [sys.executable, "-P", "-S", match.__file__, self._pattern]  # -S: it starts within milliseconds
        with held():  # it keeps the signals blocked that Slurm sends to every process of the step
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                start_new_session=True,
            )
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
            with contextlib.suppress(OSError, AttributeError):  # not on every system, and not beyond the user's share
                fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _PIPE)
        self._heard_at, self._used_s = time.monotonic(), None
        return process

    def _pump(self, found: list[Groups]) -> bool:
        """Writes and reads what the pipes take now; True if that was anything."""
        if self._process is None:
            try:
                self._process = self._start()
            except OSError as error:
                self._give_up(f"the process that matches cannot be started: {error}")
                return False
        try:
            return self._write(self._process) | self._read(self._process, found)
        except (OSError, EOFError):
            self._replace("the process that matches has died")
            return True

    def _write(self, process: subprocess.Popen[bytes]) -> bool:
        assert process.stdin is not None
        if not self._outgoing:
            self._outgoing = memoryview(b"".join(self._next_lines()))
        if not self._outgoing:
            return False
        try:
            written = os.write(process.stdin.fileno(), self._outgoing)
        except BlockingIOError:
            return False
        self._outgoing = self._outgoing[written:]
        return True

    def _next_lines(self) -> Iterator[bytes]:
        size = 0
        while self._unsent and size < _PIPE:
            line = self._unsent.popleft()
            self._sent.append(line)
            size += len(line)
            yield line + b"\n"

    def _read(self, process: subprocess.Popen[bytes], found: list[Groups]) -> bool:
        assert process.stdout is not None
        try:
            data = os.read(process.stdout.fileno(), _PIPE)
        except BlockingIOError:
            return False
        if not data:
            raise EOFError
        *answers, self._incoming = (self._incoming + data).split(b"\n")
        for answer in answers:
            self._waiting_bytes -= len(self._sent.popleft())
            if answer:
                found.append(json.loads(answer))
        self.seen += len(answers)
        self._heard_at, self._used_s = time.monotonic(), None
        return True

    def _look(self, now: float) -> None:
        """Replaces a helper that computes too long for one line."""
        if self._process is None or now - max(self._heard_at, self._looked_at) < _LOOK_S:
            return
        self._looked_at = now
        used_s = _processor_s(self._process.pid)
        if self._used_s is None:
            self._used_s = used_s
        is_lost = used_s is not None and self._used_s is not None and used_s - self._used_s >= LINE_S
        if is_lost or now - self._heard_at >= _SILENT_S:
            self._replace(f"to match one took more than {LINE_S:g} s, as it does for patterns with nested repetitions")

    def _replace(self, why: str) -> None:
        """Ends the helper; the next one continues after the line at which this one was."""
        self.close()
        self._deaths += 1
        if self._deaths >= _MOST_DEATHS:
            self._give_up(why)
        elif self._unsent:
            self._leave_out(1, why)

    def _give_up(self, why: str) -> None:
        self.close()
        self._deaths = _MOST_DEATHS
        self._leave_out(len(self._unsent), f"{why}; no more lines are matched")

    def _leave_out(self, count: int, why: str) -> None:
        """Leaves out the next lines."""
        self.close()
        for _ in range(count):
            self._waiting_bytes -= len(self._unsent.popleft())
        self._left_out += count
        lines = f"{self._left_out} line{'' if self._left_out == 1 else 's'}"
        self.complaint = f"trial.metric_pattern: {lines} of output left out: {why}"


def _processor_s(pid: int) -> float | None:
    """Returns the processor time that a process has used, in seconds; None where that is unknown."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None
