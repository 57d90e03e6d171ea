"""Follows a study to its end: reads its history periodically, in a thread beside the one that drives it."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING

from hposlurm.backend import Backend
from hposlurm.errors import HposlurmError, StudyError
from hposlurm.planner.drivers import drive, stays
from hposlurm.records.clock import CLOCK, Clock, Log, silent
from hposlurm.records.history import History, read_history
from hposlurm.records.layout import StudyLayout

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec

_LOOK_EVERY_S = 1.0
# With Slurm the study directory is on a shared file system, and little happens within a second
_LOOK_EVERY_REMOTE_S = 5.0

#: Called with the history each time after it was read.
Watch = Callable[[History], None]


def unwatched(_history: History) -> None:
    """Ignores the history."""


def follow(
    layout: StudyLayout,
    spec: StudySpec,
    backend: Backend,
    *,
    again: bool = False,
    watch: Watch = unwatched,
    log: Log = silent,
    clock: Clock = CLOCK,
) -> History:
    """Returns the history once the study is over or cancelled; drives the study if a process has to stay for that.

    `again` is as in `drive`. Raises HposlurmError if another process drives the study, StudyError if the published
    files of a study that has ended could not be written, and an error that `watch` raised.
    """
    if not stays(spec, backend):
        with _monitored(layout, watch, _LOOK_EVERY_REMOTE_S) as monitor:
            monitor.finished.wait()
        return read_history(layout)
    with _sigterm_as_interrupt(), _monitored(layout, watch, _LOOK_EVERY_S):
        step = drive(layout, spec, backend, again=again, log=log, clock=clock)
    if step.kind == "waiting":
        status = f"hposlurm status {layout.root.name}"
        raise HposlurmError(f"{step.message}; another process drives this study ({status})")
    if step.unpublished:
        mend = f"hposlurm rebuild {layout.root.name}"
        raise StudyError(f"nothing is left to run, but {'; '.join(step.unpublished)} (once there is room: {mend})")
    return read_history(layout)


class _Monitor(threading.Thread):
    """Reads and shows the history every `every_s` seconds; never writes, and never asks the cluster."""

    def __init__(self, layout: StudyLayout, watch: Watch, every_s: float) -> None:
        super().__init__(daemon=True)
        self._layout, self._watch, self._every_s = layout, watch, every_s
        self._leave = threading.Event()
        self._history: History | None = None
        #: Set once the study is over or cancelled, or `watch` has raised an error.
        self.finished = threading.Event()
        #: The error that ended the thread, if one did.
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            while not self._leave.wait(self._every_s):
                self.look()
        except Exception as error:
            self.error = error
            self.finished.set()

    def look(self) -> None:
        """Reads and shows the history once."""
        with contextlib.suppress(HposlurmError, OSError):  # one read may fail; the next one follows soon
            history = self._history = read_history(self._layout, after=self._history)
            self._watch(history)
            if history.finished or self._layout.stop.exists():
                self.finished.set()

    def stop(self) -> None:
        """Ends the thread, and returns once it has ended."""
        self._leave.set()
        self.join()


@contextlib.contextmanager
def _monitored(layout: StudyLayout, watch: Watch, every_s: float) -> Iterator[_Monitor]:
    """Shows the history before the body, while it runs, and after it."""
    monitor = _Monitor(layout, watch, every_s)
    monitor.look()
    monitor.start()
    try:
        yield monitor
    finally:
        monitor.stop()
        if monitor.error is None:
            monitor.look()
    if monitor.error is not None:
        raise monitor.error


@contextlib.contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Makes `kill`, and `hposlurm cancel` in another shell, end a local study as Ctrl-C does.

    Only the main thread can handle signals; in another thread this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
