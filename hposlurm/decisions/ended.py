"""What the search says of trials that it ends, as the records keep it."""

from __future__ import annotations

from hposlurm.records.cause_text import sentence
from hposlurm.records.history import History
from hposlurm.search import Verdict
from hposlurm.trial import Cause, EndCause, JobState, Outcome, Settlement


def pruned(history: History, verdict: Verdict) -> Settlement:
    """The search's verdict on a trial that is paused, over the attempt that brought it there."""
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
