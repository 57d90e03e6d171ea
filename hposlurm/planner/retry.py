"""Orders that failed trials run again, once their cause is gone: `hposlurm retry`, `hposlurm resume --retry-failed`."""

from __future__ import annotations

from collections.abc import Sequence

from hposlurm.errors import RequestError
from hposlurm.records.history import History
from hposlurm.records.layout import StudyLayout
from hposlurm.records.retry_orders import Retried, RetryOrder, record_order
from hposlurm.trial import Outcome, Trial, TrialState


def order_retry(layout: StudyLayout, history: History, now: float, trials: Sequence[int] = ()) -> tuple[int, ...]:
    """Records that these failed trials run again, and returns their numbers; by default all that failed by themselves.

    Trials that do not fit into the memory, and trials that a person cancelled, run again only if they are named. Raises
    RequestError for a trial that has not failed or whose place in a population is taken, and if there is none. `now` is
    in epoch seconds.
    """
    for number in trials:
        if refusal := _refusal(history, history.trial(number)):
            raise RequestError(refusal)
    chosen = [history.trial(number) for number in sorted({*trials})] or _failed(history)
    if not chosen:
        raise RequestError(_none_failed(history))
    retried = (Retried(trial.number, tuple(attempt.number for attempt in trial.attempts)) for trial in chosen)
    record_order(layout, RetryOrder(now, tuple(retried)))
    return tuple(trial.number for trial in chosen)


def _none_failed(history: History) -> str:
    named = [str(trial.number) for trial in history.trials if not _refusal(history, trial)]
    rest = f" by itself; these were cancelled or need too much memory, name them: {', '.join(named)}" if named else ""
    return f"no trial has failed{rest}"


def _failed(history: History) -> list[Trial]:
    return [t for t in history.trials if not _refusal(history, t) and not t.infeasible and not _is_dropped(history, t)]


def _is_dropped(history: History, trial: Trial) -> bool:
    behind = {n for order in history.orders for one in order.trials if one.trial == trial.number for n in one.attempts}
    return any(a.outcome is Outcome.DROPPED and a.number not in behind for a in trial.attempts)


def _refusal(history: History, trial: Trial) -> str:
    """Returns why the trial cannot run again; "" if it can."""
    if trial.state is not TrialState.FAIL:
        failed = [str(t.number) for t in history.trials if t.state is TrialState.FAIL]
        which = f"these have: {', '.join(failed)}" if failed else "no trial of the study has"
        return f"trial {trial.number} has not failed, it is {trial.state}; {which}"
    taken = next((t.number for t in history.trials if t.attrs.get("replaces") == trial.number), None)
    return (
        "" if taken is None else f"trial {trial.number} cannot run again: trial {taken} has its place in the population"
    )
