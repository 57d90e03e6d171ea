"""Decides when a study pauses because its trials fail: a person has to look before more of them do. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hposlurm.decisions.modes import trials_per_wave
from hposlurm.records.cause_text import sentence
from hposlurm.records.failing import failed_alike
from hposlurm.records.history import History
from hposlurm.trial import DONE, Attempt, EndCause, Outcome, Trial, TrialState

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec

# Two failures alike may be two bad configurations.
_FEWEST = 3
# A share of fewer trials means little.
_SHARE_OF = 10


def pause_after(spec: StudySpec, history: History, wave_size: int) -> int | None:
    """Returns after how many attempts that all failed alike the study pauses; None if one has completed.

    That is as many as start side by side, twice as many if failed trials are retried. `wave_size` is how many run at a
    time.
    """
    if _has_completed(history):
        return None
    side_by_side = min(wave_size, trials_per_wave(spec, wave_size))
    return max(_FEWEST, side_by_side) * (2 if spec.trial.retries else 1)


def reason_to_pause(spec: StudySpec, history: History, count: int | None, marked: EndCause | None = None) -> str | None:
    """Returns why the study pauses, as a sentence; None if it does not.

    `count` is that of `pause_after`, `marked` why workers paused a wave. Only what was tried after the last pause
    counts.
    """
    since = tried_since(history)
    cause = None
    if count is not None and not _has_completed(history):
        cause = failed_alike(_in_order(history, since), count, spec.trial.retries) or marked
    if cause is not None:
        return f"paused: the first trials all failed, and none completed: {sentence(cause)}"
    limit = spec.budget.max_failures
    if limit is None:
        return None
    ended = [t for t in history.trials if t.state.is_finished and _last_wave(t) >= since]
    failed = sum(t.state is TrialState.FAIL and not _is_cancelled(t) for t in ended)
    is_share = limit < 1
    if failed < (limit * len(ended) if is_share else limit) or (is_share and len(ended) < _SHARE_OF):
        return None
    many = f"{failed} of {len(ended)} trials" if is_share else "1 trial" if failed == 1 else f"{failed} trials"
    return f"paused: {many} failed, budget.max_failures is {limit:g}"


def tried_since(history: History) -> int:
    """Returns the first wave after the study last ended or paused: what failed before was seen by a person."""
    return max((plan.wave + 1 for plan in history.plans if plan.finished), default=0)


def _has_completed(history: History) -> bool:
    return any(attempt.outcome in DONE for trial in history.trials for attempt in trial.attempts)


def _in_order(history: History, since: int) -> list[tuple[int, Attempt]]:
    """Returns (trial, attempt) of those with a journal from wave `since` on, in the order of their assignments."""
    found = [(t.number, a) for t in history.trials for a in t.attempts if a.number >= 0 and a.wave >= since]
    return sorted(found, key=lambda pair: (pair[1].wave, pair[1].index, pair[1].number))


def _last_wave(trial: Trial) -> int:
    return max((attempt.wave for attempt in trial.attempts), default=-1)


def _is_cancelled(trial: Trial) -> bool:
    return any(attempt.outcome is Outcome.DROPPED for attempt in trial.attempts)
