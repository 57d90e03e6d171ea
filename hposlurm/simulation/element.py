"""One element of a wave in virtual time: from its start to its end, and what its worker would write on the way."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from hposlurm.errors import RequestError
from hposlurm.records.journal import end_fields
from hposlurm.records.plan import WavePlan
from hposlurm.simulation.cluster import Fault
from hposlurm.simulation.function import Row
from hposlurm.trial import Assignment, Cause, EndCause, JobState, Outcome
from hposlurm.worker.verdict import Ending, judge

_TIME_LIMIT = EndCause(Cause.TIME_LIMIT_AHEAD, signal=int(signal.SIGUSR2))
_CRASHED = "the command crashed, as the simulation wanted"
_JOB_STATES = {Fault.NODE_FAIL: JobState.NODE_FAIL, Fault.PREEMPTION: JobState.PREEMPTED}

Write = Callable[[str, float, Mapping[str, Any]], None]


@dataclass(slots=True)
class Element:
    """A running element. `write(kind, time, fields)` appends to its journal; times are the virtual clock's.

    It trains from `trains_at` on, and ends at `limit` for what `cut` says if its training has not ended by then.
    """

    plan: WavePlan
    index: int
    attempt: int
    slot: int
    started_at: float
    trains_at: float
    rows: Iterator[Row]
    write: Write
    limit: float
    cut: Fault | JobState | None
    state: JobState = JobState.RUNNING
    trained_s: float = 0.0
    saved: Row | None = None
    _ahead: Row | None = None
    _raised: BaseException | None = None
    _last: dict[str, tuple[int, float | str]] = field(default_factory=dict)

    @property
    def assignment(self) -> Assignment:
        return self.plan.assignments[self.index]

    def begin(self) -> float:
        """Starts the training; when something happens next."""
        self._look_ahead()
        return self.next_event

    @property
    def next_event(self) -> float:
        """When it reports or ends next."""
        seconds = self.trained_s if self._ahead is None else self._ahead.seconds
        return min(self.trains_at + seconds, self.limit)

    def proceed(self) -> bool:
        """Lets happen what is next; whether that was a report. After anything else the element has ended."""
        now, row = self.next_event, self._ahead
        if row is not None and self.trains_at + row.seconds <= self.limit:
            self.trained_s = row.seconds
            self.saved = row
            self._last.update((name, (row.step, value)) for name, value in row.metrics.items())
            self.write("report", now, {"step": row.step, "metrics": row.metrics})
            self._look_ahead()
            return True
        if row is not None:
            self.trained_s = max(0.0, now - self.trains_at)
        self._finish(now, is_cut=row is not None)
        return False

    def stop(self, now: float, reason: str) -> None:
        """Ends it after its last report, since the search has no further use for its trial."""
        self._end(now, Outcome.PRUNED, EndCause(Cause.PRUNED, detail=reason), 0)
        self.state = JobState.COMPLETED

    def _look_ahead(self) -> None:
        try:
            self._ahead = next(self.rows, None)
        except RequestError:
            raise
        except Exception as error:  # what the training code would have died of
            self._ahead, self._raised = None, error

    def _finish(self, now: float, *, is_cut: bool) -> None:
        if is_cut and isinstance(self.cut, Fault) and self.cut is not Fault.CRASH:
            self._save(now)  # the worker dies with its node, without a word
            self.state = _JOB_STATES[self.cut]
            return
        outcome, cause, exit_code = self._judged(is_cut=is_cut)
        self._end(now, outcome, cause, exit_code)
        ended = JobState.COMPLETED if outcome is Outcome.COMPLETE else JobState.FAILED
        self.state = JobState.TIMEOUT if is_cut and self.cut is JobState.TIMEOUT else ended

    def _judged(self, *, is_cut: bool) -> tuple[Outcome, EndCause | None, int]:
        """What the worker makes of the end of the command."""
        ending, exception, no_room = Ending(0), "", ""
        if is_cut and self.cut is Fault.CRASH:
            ending, exception = Ending(1), _CRASHED
        elif is_cut and self.cut is JobState.TIMEOUT:
            ending = Ending(0, asked=_TIME_LIMIT, is_stopping=True)
        elif is_cut:
            ending = Ending(0, timed_out_s=self.plan.timeout_s)
        elif isinstance(self._raised, MemoryError):
            ending, no_room = Ending(1), str(self._raised) or "MemoryError"
        elif self._raised is not None:
            ending, exception = Ending(1), f"{type(self._raised).__name__}: {self._raised}"
        to_step = self.assignment.to_step
        outcome, cause = judge(ending, self.plan.objectives, self._last, to_step, exception, no_room)
        return outcome, cause, ending.exit_code or 0

    def _end(self, now: float, outcome: Outcome, cause: EndCause | None, exit_code: int) -> None:
        self._save(now)
        last = {name: value for name, (_, value) in self._last.items()}
        self.write("end", now, end_fields(outcome, cause, exit_code=exit_code, metrics=last))

    def _save(self, now: float) -> None:
        if self.saved is not None:  # every report is a checkpoint; only the newest is of use to anybody
            self.write("checkpoint", now, {"step": self.saved.step, "path": f"checkpoints/step-{self.saved.step}"})
