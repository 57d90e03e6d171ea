"""Recognises trials that all fail alike, and marks the wave that is paused for it. Standard library only.

The worker imports this: many elements may start before a planner looks at the first ends.
"""

from __future__ import annotations

from collections.abc import Iterable

from hposlurm.records.decode import structure
from hposlurm.records.files import create_once, from_json, to_json
from hposlurm.records.layout import WaveLayout
from hposlurm.records.reading import read_whole
from hposlurm.trial import Attempt, Cause, EndCause, Outcome

# Neither shows anything about the command
_NOT_COUNTED = (Outcome.INTERRUPTED, Outcome.DROPPED)
_FAILURES = (Outcome.FAIL, Outcome.INFEASIBLE)


def failed_alike(attempts: Iterable[tuple[int, Attempt]], count: int, retries: int) -> EndCause | None:
    """Returns the cause of the last of the first `count` attempts if they all failed alike; None otherwise.

    They must be of `count` trials, or of half as many if failed trials are retried. `attempts` are (trial, attempt).
    Attempts that were interrupted or cancelled do not count. An attempt that still runs may complete.
    """
    found: list[EndCause] = []
    trials: set[int] = set()
    for trial, attempt in attempts:
        if attempt.outcome in _NOT_COUNTED:
            continue
        if attempt.outcome not in _FAILURES or attempt.cause is None:
            return None
        found.append(attempt.cause)
        if _kind(attempt.cause) != _kind(found[0]):
            return None
        trials.add(trial)
        if len(found) >= count and len(trials) >= (count // 2 if retries else count):
            return attempt.cause
    return None


def _kind(cause: EndCause) -> tuple[object, ...]:
    """Returns what two ends have in common that failed alike, whatever they printed and however far they came."""
    return cause.kind, cause.exit_code, cause.metric, cause.detail if cause.kind is Cause.UNKNOWN else ""


def mark_paused(wave: WaveLayout, cause: EndCause) -> None:
    """Records that the elements of the wave that have not started run nothing, since others failed for `cause`."""
    create_once(wave.paused, to_json(cause.to_json()))


def paused_for(wave: WaveLayout) -> EndCause | None:
    """Returns why the wave is paused; None if it is not, or if its mark cannot be read."""
    try:
        return structure(EndCause, from_json(read_whole(wave.paused)))
    except (OSError, ValueError):
        return None
