"""Turns the search's verdicts on trials that it ends into settlements."""

from __future__ import annotations

from hposlurm.records.assignment import Settlement
from hposlurm.records.cause_text import sentence
from hposlurm.records.history import History
from hposlurm.search import Verdict
from hposlurm.trial import Cause, EndCause, JobState, Outcome


def pruned(history: History, verdict: Verdict) -> Settlement:
    """Returns the settlement for the search's verdict on a paused trial; it names the trial's last attempt."""
    last = history.trial(verdict.trial).attempts[-1]
    cause = EndCause(Cause.PRUNED, detail=verdict.reason)
    return Settlement(
        trial=verdict.trial,
        attempt=last.number,
        wave=last.wave,
        job_id=last.job_id,
        state=last.job_state or JobState.UNKNOWN,
        outcome=Outcome.PRUNED,
        reason=sentence(cause),
        cause=cause,
    )
