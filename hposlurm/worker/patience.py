"""Decides when a command is asked to leave and when it is killed. Pure: time and signals are arguments."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from hposlurm.trial import Cause, EndCause

GRACE_S = 25.0  # Slurm sends SIGKILL 30 s (KillWait) after its SIGTERM, and the end must be recorded before
TIMEOUT_GRACE_S = 60.0
DEAF_GRACE_S = 3.0  # for a command that has never looked for a request: it does not know how to save and leave
ECHO_S = 2.0  # Slurm's requeueing sends SIGTERM to the step and to the script, whose srun forwards it to the step
PRUNE_GRACE_S = 60.0  # only its own GPUs wait for a trial that the search has ended
KILL_WAIT_S = 3.0  # no longer: a process may hang in the kernel


@dataclass(slots=True)
class Patience:
    """How long an attempt's command may still run. Times are of `time.monotonic()`.

    SIGUSR2 sets no deadline: the time limit itself comes with a SIGTERM, and until then the command may save or even
    finish. A second SIGTERM or SIGINT sets the deadline to now, unless it is an echo of the first.
    """

    started_at: float
    timeout_s: float | None = None
    grace_s: float = GRACE_S
    #: The command's own choice, which also holds where it is pruned or exceeds its timeout; None: it made none.
    chosen_s: float | None = None
    asked: EndCause | None = None
    asked_at: float = 0.0
    timed_out: bool = False
    pruned: EndCause | None = None
    deadline: float | None = None
    _last_order: tuple[signal.Signals, float] | None = None

    @property
    def is_asked(self) -> bool:
        return self.asked is not None or self.pruned is not None or self.timed_out

    def signalled(self, number: signal.Signals, now: float) -> None:
        """Records a signal to the worker."""
        if not self.is_asked:
            kind = Cause.TIME_LIMIT_AHEAD if number == signal.SIGUSR2 else Cause.TOLD_TO_STOP
            self.asked, self.asked_at = EndCause(kind, signal=int(number)), now
        if number == signal.SIGUSR2:
            return
        before = self._last_order
        if before is not None and before[0] == number == signal.SIGTERM and now - before[1] < ECHO_S:
            return
        self._end_by(now if before else now + self._grace_s(self.grace_s))
        self._last_order = (number, now)

    def prune(self, reason: str, now: float) -> None:
        """Records that the search ended the trial; no effect if the command was asked to leave already."""
        if not self.is_asked:
            self.pruned, self.asked_at = EndCause(Cause.PRUNED, detail=reason), now
            self._end_by(now + self._grace_s(PRUNE_GRACE_S))

    def tick(self, now: float) -> None:
        """Applies the timeout."""
        if self.timeout_s is None or now - self.started_at < self.timeout_s:
            return
        if not self.is_asked:
            self.timed_out, self.asked_at = True, now
        if self.deadline is None:
            self._end_by(now + self._grace_s(min(TIMEOUT_GRACE_S, self.timeout_s)))

    def is_over(self, now: float, *, is_listening: bool = True) -> bool:
        """True if the command is to be killed. A command that does not listen gets a short grace."""
        if self.deadline is None:
            return False
        return now >= (self.deadline if is_listening else min(self.deadline, self.asked_at + DEAF_GRACE_S))

    def _grace_s(self, usual_s: float) -> float:
        return usual_s if self.chosen_s is None else self.chosen_s

    def _end_by(self, time: float) -> None:
        self.deadline = time if self.deadline is None else min(self.deadline, time)
