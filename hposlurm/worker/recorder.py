"""The worker's side of the journal: records wait in memory while the shared file system refuses them."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections import deque
from typing import Any

from hposlurm.records import journal

_RETRY_S = 0.5


def say(message: str) -> None:
    """One line to the worker's stderr; a full disk behind it is nobody's concern."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"hposlurm: {message}\n")
        sys.stderr.flush()


class Recorder:
    """Appends records to the open journal `fd` in order; never raises for the file system."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._waiting: deque[dict[str, Any]] = deque()
        self._has_complained = False
        self._next_try = 0.0

    def add(self, kind: str, **fields: Any) -> None:
        """Records one line with the present time; it may be written later."""
        self._waiting.append({"kind": kind, "t": time.time(), **fields})

    def flush(self) -> bool:
        """Writes what waits, as far as it goes; whether all is written."""
        if time.monotonic() < self._next_try:
            return not self._waiting
        size, waited = None, len(self._waiting)
        try:
            while self._waiting:
                size = os.fstat(self._fd).st_size
                journal.append(self._fd, self._waiting[0], durable=len(self._waiting) == 1)
                self._waiting.popleft()
        except OSError as error:
            self._take_back(size)
            self._next_try = time.monotonic() + _RETRY_S
            if not self._has_complained:
                self._has_complained = True
                say(f"the journal cannot be written, training goes on and records wait in memory: {error}")
        if self._has_complained and not self._waiting:
            self._has_complained = False
            say(f"the journal can be written again; {waited} records had waited, none is lost")
        return not self._waiting

    def _take_back(self, size: int | None) -> None:
        """Removes half a line, which readers leave alone: once another follows it would count as damage."""
        if size is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, size)

    def drain(self, patience_s: float) -> bool:
        """Writes what waits, trying for `patience_s`; whether all is written."""
        deadline = time.monotonic() + patience_s
        while not self.flush():
            if time.monotonic() >= deadline:
                say(f"{len(self._waiting)} records could not be written and are lost")
                return False
            time.sleep(_RETRY_S / 5)
        return True
