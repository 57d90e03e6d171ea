"""Writes the journal. Records wait in memory while the shared file system refuses them."""

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
    """Writes one line to the worker's stderr; write errors are ignored."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"hposlurm: {message}\n")
        sys.stderr.flush()


class Recorder:
    """Appends records to the open journal `fd` in order. Never raises an error of the file system."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._waiting: deque[dict[str, Any]] = deque()
        self._has_complained = False
        self._next_try = 0.0

    def add(self, kind: str, **fields: Any) -> None:
        """Adds one record with the present time; it may be written later."""
        self._waiting.append({"kind": kind, "t": time.time(), **fields})

    def flush(self) -> bool:
        """Writes the waiting records as far as possible. True if all are written."""
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
            say(f"the journal can be written again; {waited} records had waited, none was lost")
        return not self._waiting

    def _take_back(self, size: int | None) -> None:
        """Removes half a line. Readers ignore it at the end, but once another line follows it counts as damage."""
        if size is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, size)

    def drain(self, patience_s: float) -> bool:
        """Writes the waiting records, retrying for `patience_s` seconds. True if all are written."""
        deadline = time.monotonic() + patience_s
        while not self.flush():
            if time.monotonic() >= deadline:
                say(f"{len(self._waiting)} records could not be written and are lost")
                return False
            time.sleep(_RETRY_S / 5)
        return True
