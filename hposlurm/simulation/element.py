"""One element of a wave in virtual time, from its start to its end, with the records that its worker would write."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from hposlurm.errors import RequestError
from hposlurm.records.assignment import Assignment
from hposlurm.records.journal import end_fields
from hposlurm.records.plan import WavePlan
from hposlurm.records.scores import with_scores
from hposlurm.simulation.cluster import Fault
from hposlurm.simulation.function import Row
from hposlurm.trial import Cause, EndCause, JobState, Outcome
from hposlurm.worker.last_words import LastWords
from hposlurm.worker.verdict import Ending, judge

_TIME_LIMIT = EndCause(Cause.TIME_LIMIT_AHEAD, signal=int(signal.SIGUSR2))
_CRASHED = "the command crashed, as the simulation determined"
_JOB_STATES = {Fault.NODE_FAIL: JobState.NODE_FAIL, Fault.PREEMPTION: JobState.PREEMPTED}

Write = Callable[[str, float, Mapping[str, Any]], None]


@dataclass(slots=True)
class Element:
    """A running element. Times are those of the virtual clock."""

    plan: WavePlan
    index: int
    attempt: int
    #: The slot of the cluster on which it runs.
    slot: int
    started_at: float
    #: When its training starts.
    trains_at: float
    rows: Iterator[Row]
    #: `write(kind, time, fields)` appends a record to its journal.
    write: Write
    #: When it ends if its training has not ended before.
    limit: float
    #: Why it ends at `limit`; None means the trial's own timeout.
    cut: Fault | JobState | None
    #: The last values that earlier elements of the trial reported; a score may need them.
    known: Mapping[str, float | str] = field(default_factory=dict)
    state: JobState = JobState.RUNNING
    trained_s: float = 0.0
    #: Its newest report, which is also its newest checkpoint.
    saved: Row | None = None
    _ahead: Row | None = None
    _raised: BaseException | None = None
    _last: dict[str, tuple[int, float | str]] = field(default_factory=dict)

    @property
    def assignment(self) -> Assignment:
        return self.plan.assignments[self.index]

    def begin(self) -> float:
        """Starts the training and returns the time of its next event."""
        self._look_ahead()
        return self.next_event

    @property
    def next_event(self) -> float:
        """The time of its next report, or of its end."""
        seconds = self.trained_s if self._ahead is None else self._ahead.seconds
        return min(self.trains_at + seconds, self.limit)

    def proceed(self) -> bool:
        """Executes the next event. Returns True if it was a report; otherwise the element has ended."""
        now, row = self.next_event, self._ahead
        if row is not None and self.trains_at + row.seconds <= self.limit:
            self.trained_s = row.seconds
            self.saved = row
            metrics = row.metrics
            if self.plan.scores:
                own = {name: value for name, (_, value) in self._last.items()}
                known = {**self.assignment.params, **self.known, **own}
                metrics = with_scores(metrics, known, self.plan.scores)
            self._last.update((name, (row.step, value)) for name, value in metrics.items())
            self.write("report", now, {"step": row.step, "metrics": metrics})
            self._look_ahead()
            return True
        if row is not None:
            self.trained_s = max(0.0, now - self.trains_at)
        self._finish(now, is_cut=row is not None)
        return False

    def stop(self, now: float, reason: str) -> None:
        """Ends the element after its last report, since the search has no further use for its trial."""
        self._end(now, Outcome.PRUNED, EndCause(Cause.PRUNED, detail=reason), 0)
        self.state = JobState.COMPLETED

    def _look_ahead(self) -> None:
        try:
            self._ahead = next(self.rows, None)
        except RequestError:
            raise
        except Exception as error:  # the training code would have crashed with it
            self._ahead, self._raised = None, error

    def _finish(self, now: float, *, is_cut: bool) -> None:
        if is_cut and isinstance(self.cut, Fault) and self.cut is not Fault.CRASH:
            self._save(now)  # the worker dies with its node, without an end record
            self.state = _JOB_STATES[self.cut]
            return
        outcome, cause, exit_code = self._judged(is_cut=is_cut)
        self._end(now, outcome, cause, exit_code)
        ended = JobState.COMPLETED if outcome is Outcome.COMPLETE else JobState.FAILED
        self.state = JobState.TIMEOUT if is_cut and self.cut is JobState.TIMEOUT else ended

    def _judged(self, *, is_cut: bool) -> tuple[Outcome, EndCause | None, int]:
        """Returns how the worker would judge the end of the command: outcome, cause and exit status."""
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
        outcome, cause = judge(ending, self.plan.objectives, self._last, to_step, LastWords((), exception), no_room)
        return outcome, cause, ending.exit_code or 0

    def _end(self, now: float, outcome: Outcome, cause: EndCause | None, exit_code: int) -> None:
        self._save(now)
        last = {name: value for name, (_, value) in self._last.items()}
        self.write("end", now, end_fields(outcome, cause, exit_code=exit_code, metrics=last))

    def _save(self, now: float) -> None:
        if self.saved is not None:  # every report is a checkpoint; only the newest is ever used
            self.write("checkpoint", now, {"step": self.saved.step, "path": f"checkpoints/step-{self.saved.step}"})
