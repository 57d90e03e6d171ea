"""Takes an assignment of a refill wave for its element, and has more assignments proposed.

Taking is one link, and does not wait while an assignment is left. Proposing needs the search, in a separate process:
after the element has taken its assignment, or before, where none was left.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from bisect import bisect_right

from hposlurm.errors import StudyError
from hposlurm.records import refill_pool
from hposlurm.records.assignment import Assignment
from hposlurm.records.fold import read_on, unread
from hposlurm.records.layout import StudyLayout, WaveLayout
from hposlurm.records.plan import WavePlan
from hposlurm.records.refill_pool import Batch
from hposlurm.records.retries import gives_back
from hposlurm.worker.inbox import held
from hposlurm.worker.recorder import say

_LOOK_EVERY_S = 0.1
_LAST_S = 5.0  # a batch that is nearly done is worth more than these seconds
_LEAVES_S = 1.0  # to remove what is half written
_NICE = 10


def bind(
    study: StudyLayout, plan: WavePlan, element: int, patience_s: float = refill_pool.PATIENCE_S
) -> Assignment | None:
    """Returns the element's assignment, the same one if it was started before; None if it has nothing to do.

    `plan` is the wave's first plan, without added batches. Raises StudyError if nothing can be proposed, or if the
    records are damaged.
    """
    if plan.elements is None or element >= plan.elements:
        raise StudyError(f"wave {plan.wave} has {plan.elements} elements, counted from 0; there is no {element}")
    wave = study.wave(plan.wave)
    shelf = _Shelf(wave, plan)
    if not refill_pool.enter(wave, element) and (position := refill_pool.position_of(wave, element)) is not None:
        assignment = shelf.find(position)
        if assignment is None:
            raise StudyError(f"{wave.claim(position)} is of element {element}, but nothing was proposed there")
        return None if _is_done(study, plan, element, assignment) or shelf.has_again(position) else assignment
    deadline = time.monotonic() + patience_s
    while not study.stop.exists():
        if (assignment := _take(wave, shelf, element)) is not None:
            return assignment
        if shelf.over:
            say(f"nothing to run: {shelf.over}")
            return None
        if time.monotonic() > deadline:
            raise StudyError(f"no further trial was proposed for wave {plan.wave} within {patience_s:g} s")
        _propose_now(study, wave, shelf.end)
    say("nothing to run: the study was cancelled")
    return None


def _take(wave: WaveLayout, shelf: _Shelf, element: int) -> Assignment | None:
    """Takes the first free assignment; None if there is none."""
    is_taken = refill_pool.taken(wave)
    position = 0
    while True:
        if position not in is_taken:
            assignment = shelf.find(position)
            if assignment is None:
                return None
            if refill_pool.take(wave, element, position):
                return assignment
        position += 1


def _propose_now(study: StudyLayout, wave: WaveLayout, position: int) -> None:
    """Has the batch at `position` proposed, or waits a moment if another process has the lease on it."""
    if not refill_pool.acquire_batch(wave, position):
        time.sleep(_LOOK_EVERY_S)
        return
    try:
        done = subprocess.run(
            [*_command(study, wave), "needed"],
            env=_environ(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
        )
    finally:
        refill_pool.release_batch(wave, position)
    if done.returncode:
        raise StudyError(f"no further trial can be proposed: {done.stderr.strip()[-500:] or done.returncode}")


def _is_done(study: StudyLayout, plan: WavePlan, element: int, assignment: Assignment) -> bool:
    """True if the element ran before and released the trial, which another element may have by now."""
    trial = study.trial(assignment.trial)
    attempts = [read_on(trial.journal(n), unread(n)) for n in trial.attempts()]
    mine = [i for i, attempt in enumerate(attempts) if (attempt.wave, attempt.index) == (plan.wave, element)]
    if not mine or not gives_back(attempts[: mine[-1] + 1]):
        return False
    say(f"trial {assignment.trial} ended here as {attempts[mine[-1]].outcome}: nothing to run")
    return True


class Refiller:
    """Has more proposed beside a running trial, if fewer than `plan.ahead` are left.

    `with` ends the process that proposes, together with the trial.
    """

    def __init__(self, study: StudyLayout, plan: WavePlan) -> None:
        self._study, self._plan = study, plan
        self._wave = study.wave(plan.wave)
        self._position = 0
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Refiller:
        if self._plan.elements is not None:
            with contextlib.suppress(OSError, StudyError):  # the next element that finds nothing reports it
                self._begin()
        return self

    def _begin(self) -> None:
        shelf = _Shelf(self._wave, self._plan)
        end = shelf.end
        left = end - sum(position < end for position in refill_pool.taken(self._wave))
        if shelf.over or left >= self._plan.ahead or not refill_pool.acquire_batch(self._wave, end):
            return
        self._position = end
        with held():
            self._process = subprocess.Popen(
                _command(self._study, self._wave),
                env=_environ(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                preexec_fn=_be_nice,
            )

    def __exit__(self, *_: object) -> None:
        if self._process is None:
            return
        try:
            self._process.wait(_LAST_S)
        except subprocess.TimeoutExpired:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_LEAVES_S)
            self._process.kill()
            self._process.wait()
        with contextlib.suppress(OSError):
            refill_pool.release_batch(self._wave, self._position)


class _Shelf:
    """The assignments of the pool by position. Reads only the batches that are needed."""

    def __init__(self, wave: WaveLayout, plan: WavePlan) -> None:
        self._wave = wave
        self._parts = {0: Batch(plan.wave, 0, plan.created_at, plan.assignments)}
        self._begins = [0, *(begin for begin in wave.batches() if begin)]

    def find(self, position: int) -> Assignment | None:
        """Returns the assignment at `position`; None if none was proposed so far."""
        part = self._part(self._begins[bisect_right(self._begins, position) - 1])
        while position >= part.end:
            following = None if part.over else self._following(part.end)
            if following is None:
                return None
            part = following
        return part.assignments[position - part.position]

    def has_again(self, position: int) -> bool:
        """True if another element got the trial at `position` later: its job was requeued although it must not run."""
        own = self.find(position)
        later = (self.find(other) for other in range(position + 1, self.end))
        return own is not None and any(a is not None and a.trial == own.trial for a in later)

    @property
    def end(self) -> int:
        """The number of assignments proposed so far."""
        return self._last().end

    @property
    def over(self) -> str:
        """The reason why no more will be proposed; "" if more may be."""
        return self._last().over

    def _last(self) -> Batch:
        part = self._part(self._begins[-1])
        while not part.over and (following := self._following(part.end)) is not None:
            part = following
        return part

    def _part(self, begin: int) -> Batch:
        known = self._parts.get(begin) or refill_pool.read_batch(self._wave, begin)
        if known is None:
            raise StudyError(f"{self._wave.batch(begin)} is gone; restore it from a backup (nothing was changed)")
        self._parts[begin] = known
        return known

    def _following(self, begin: int) -> Batch | None:
        """Returns the batch that begins at `begin`; a listing of a network file system may be older than it."""
        found = refill_pool.read_batch(self._wave, begin)
        if found is not None:
            self._parts[begin] = found
            self._begins = sorted({*self._begins, begin})
        return found


def _command(study: StudyLayout, wave: WaveLayout) -> list[str]:
    """Returns the command that proposes more. Its room stands above this one: a worker must not import the search."""
    return [sys.executable, "-P", "-m", "hposlurm.refill", str(study.root), str(wave.index)]


def _environ() -> dict[str, str]:
    """Returns the environment of the command: one thread, as the other cores belong to the training."""
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    return {**os.environ, **dict.fromkeys(threads, "1"), "CUDA_VISIBLE_DEVICES": ""}


def _be_nice() -> None:
    os.nice(_NICE)
