"""Groups what failed by its reason, with what it cost and the last lines of one of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from hposlurm.records.history import History
from hposlurm.report.logs import TAIL_LINES
from hposlurm.report.page.shortening import short
from hposlurm.report.printable import printable
from hposlurm.trial import Attempt, Outcome, Trial, TrialState

_MOST_GROUPS = 50
_MOST_ROWS = 200
_LONGEST_LINE = 400
_BAD = (Outcome.FAIL, Outcome.INFEASIBLE, Outcome.INTERRUPTED, Outcome.DROPPED)
# paths, addresses and counts differ between failures that are alike
_VARIES = re.compile(r"0x[0-9a-f]+|/\S+|\d+")

#: Returns the last lines of an attempt's output.
ReadTail = Callable[[Attempt], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Attempts that ended in the same way."""

    reason: str
    #: "fail", "infeasible", "interrupted" or "dropped"
    outcome: str
    attempts: int
    #: the rows of their trials, the first ones only if they are many
    rows: tuple[int, ...]
    trials: int
    #: how many of these trials failed in the end
    lost: int
    gpu_hours: float
    #: the trial that has the lines
    example: int
    tail: tuple[str, ...]


def failures(history: History, tail_of: ReadTail) -> tuple[FailureGroup, ...]:
    """Returns the groups, the costliest first, and of equal cost the largest first."""
    groups: dict[tuple[str, str], list[tuple[int, Trial, Attempt]]] = {}
    for row, trial in enumerate(history.trials):
        for attempt in trial.attempts:
            if attempt.outcome in _BAD:
                groups.setdefault(_kind(attempt), []).append((row, trial, attempt))
    found = sorted(groups.values(), key=lambda own: (-sum(a.gpu_hours for *_, a in own), -len(own)))
    return tuple(_group(own, tail_of) for own in found[:_MOST_GROUPS])


def _kind(attempt: Attempt) -> tuple[str, str]:
    cause = attempt.cause.kind.value if attempt.cause else ""
    last = next((plain for line in reversed(attempt.tail) if (plain := printable(line))), "")
    said = f"{attempt.cause.exit_code if attempt.cause else ''} {last or attempt.reason}"
    return f"{attempt.outcome} {cause}", _VARIES.sub("…", said)[:200]


def _group(own: Sequence[tuple[int, Trial, Attempt]], tail_of: ReadTail) -> FailureGroup:
    rows = list(dict.fromkeys(row for row, _, _ in own))
    lost = {trial.number for _, trial, _ in own if trial.state is TrialState.FAIL}
    _, trial, attempt = next((each for each in own if each[2].tail), own[0])
    lines = attempt.tail or tail_of(attempt)
    return FailureGroup(
        reason=printable(attempt.reason)[:_LONGEST_LINE] or "no reason was recorded",
        outcome=str(attempt.outcome),
        attempts=len(own),
        rows=tuple(rows[:_MOST_ROWS]),
        trials=len(rows),
        lost=len(lost),
        gpu_hours=short(float(sum(a.gpu_hours for *_, a in own))),
        example=trial.number,
        tail=tuple(_last_lines(lines)),
    )


def _last_lines(lines: Sequence[str]) -> Iterator[str]:
    shown = [plain for line in lines if (plain := printable(line))]
    return (line[:_LONGEST_LINE] for line in shown[-TAIL_LINES:])
