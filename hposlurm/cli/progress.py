"""Following a study to its end, in the foreground (`launch` on the local backend, `--wait` on Slurm)."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING

import typer

from hposlurm.cli.common import say
from hposlurm.errors import HposlurmError

if TYPE_CHECKING:
    from hposlurm.backend import Backend
    from hposlurm.records.history import History
    from hposlurm.records.layout import StudyLayout
    from hposlurm.spec import StudySpec

_LOOK_EVERY_S = 1.0
# Slurm's study directory is on a shared file system, and nothing there happens within a second
_LOOK_EVERY_REMOTE_S = 5.0


def run_to_end(layout: StudyLayout, spec: StudySpec, backend: Backend, *, again: bool = False) -> None:
    """Follows the study until it is over, driving it where the backend needs that; ends with its summary.

    Ctrl-C leaves a study that `resume` continues: on the local backend its workers save and leave first, on Slurm its
    jobs just go on. Exits with 1 if no trial completed.
    """
    from hposlurm.planner import stays

    drives = stays(spec, backend)
    try:
        if drives:
            _drive(layout, spec, backend, again)
        else:
            with _shown(layout, spec, _LOOK_EVERY_REMOTE_S) as monitor:
                monitor.finished.wait()
    except KeyboardInterrupt:
        say(_left(layout.root.name, drives=drives, takes_jobs_along=backend.is_foreground))
        raise typer.Exit(130 if drives else 0) from None
    _summarise(layout)


def _left(name: str, *, drives: bool, takes_jobs_along: bool) -> str:
    if takes_jobs_along:
        return f"interrupted: `hposlurm resume {name}` goes on where it stopped"
    if drives:
        return f"left: the jobs in the queue go on, and nothing follows them until `hposlurm resume {name}`"
    return f"left: the jobs go on; `hposlurm status {name}` shows them"


def _drive(layout: StudyLayout, spec: StudySpec, backend: Backend, again: bool) -> None:
    from hposlurm.planner import drive

    with _sigterm_as_interrupt(), _shown(layout, spec, _LOOK_EVERY_S):
        step = drive(layout, spec, backend, again=again, tell=say)
    if step.kind == "waiting":
        raise HposlurmError(f"{step.message}; another process drives this study (hposlurm status {layout.root.name})")


@contextlib.contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """`kill` and `hposlurm cancel` from another shell end a local study as Ctrl-C does."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Monitor(threading.Thread):
    """Reads the history now and then and says what changed; never writes, never asks the cluster."""

    def __init__(self, layout: StudyLayout, spec: StudySpec, every_s: float) -> None:
        super().__init__(daemon=True)
        self._layout, self._spec, self._every_s = layout, spec, every_s
        self._leave = threading.Event()
        self.finished = threading.Event()
        self._shown = ""

    def run(self) -> None:
        while not self._leave.wait(self._every_s):
            self.look()

    def look(self) -> None:
        from hposlurm.records.history import read_history

        with contextlib.suppress(HposlurmError, OSError):  # a glimpse may fail; the next one will do
            history = read_history(self._layout)
            line = progress_line(history, self._spec)
            if line != self._shown:
                self._shown = line
                say(f"{time.strftime('%H:%M:%S')}  {line}")
            if history.finished or self._layout.stop.exists():
                self.finished.set()

    def stop(self) -> None:
        self._leave.set()
        self.join()


@contextlib.contextmanager
def _shown(layout: StudyLayout, spec: StudySpec, every_s: float) -> Iterator[_Monitor]:
    monitor = _Monitor(layout, spec, every_s)
    monitor.look()
    monitor.start()
    try:
        yield monitor
    finally:
        monitor.stop()
        monitor.look()


def progress_line(history: History, spec: StudySpec) -> str:
    """One line on where the study is: wave, counts, best so far."""
    from hposlurm.records.history import best

    counts = history.counts()
    words = [f"{number} {state.lower()}" for state, number in counts.items() if number]
    planned, most = len(history.trials), spec.budget.n_trials or 0
    total = f" of {most}" if most >= planned else ""  # a budget that was lowered later takes nothing back
    line = f"wave {max(0, len([p for p in history.plans if not p.finished]) - 1)}: "
    line += f"{planned}{total} trials planned: {', '.join(words)}"
    leader = best(history, spec.objectives, spec.limits)
    if leader is not None and leader.values is not None:
        line += f"; best {spec.objectives[0].metric} {leader.values[0]:.5g} (trial {leader.number})"
    return line


def _summarise(layout: StudyLayout) -> None:
    from hposlurm.records.history import read_history
    from hposlurm.trial import TrialState

    history = read_history(layout)
    name = layout.root.name
    sys.stderr.flush()
    print(history.finished or "the study was cancelled")
    print(f"directory: {layout.root}")
    print(f"next:      hposlurm collect {name}   hposlurm best {name}")
    if not history.counts()[TrialState.COMPLETE]:
        say(f"error: no trial completed; `hposlurm status {name}` shows why")
        raise typer.Exit(1)
