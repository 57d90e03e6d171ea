"""Reads what earlier attempts of a trial reported, up to the checkpoint from which the next one resumes.

An attempt that resumes does not repeat those steps, and where nothing is left to train it reports nothing at all. So
they count as if the attempt had reported them itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

from hposlurm.records import journal
from hposlurm.records.assignment import Assignment
from hposlurm.records.fold import Metrics, fold, read_on, unread
from hposlurm.records.layout import TrialLayout
from hposlurm.records.retries import last_number
from hposlurm.records.thinning import FEWEST_REPORTS
from hposlurm.trial import Attempt, is_finite


@dataclass(frozen=True, slots=True)
class Earlier:
    """The reports that an attempt takes over from earlier ones; nothing where it starts from scratch."""

    #: The last (step, value) of each metric.
    last: Mapping[str, tuple[int, float | str]] = field(default_factory=dict)
    #: How many reports of each metric are done, where they are only counted.
    counts: Mapping[str, int] = field(default_factory=dict)
    #: True if a step of the assignment itself is among them.
    has_begun: bool = False
    #: The step of the checkpoint, where an attempt reported it.
    saved: int | None = None

    def step(self, objectives: Sequence[str]) -> int | None:
        """Returns the last step at which every objective was reported as a number; None if there is none."""
        found = [self.last.get(name) for name in objectives]
        steps = [known[0] for known in found if known is not None and is_finite(known[1])]
        return min(steps) if steps and len(steps) == len(found) else None


def earlier(trial: TrialLayout, assignment: Assignment, attempt: int, resumed_from: str | None) -> Earlier:
    """Returns what `attempt` takes over. Raises OSError if a journal cannot be read."""
    if resumed_from is None:
        return Earlier()
    attempts = [read_on(trial.journal(n), unread(n)) for n in trial.attempts() if n < attempt]
    name = PurePath(resumed_from).name
    saved = _saved_at(name, attempts, assignment)
    last: dict[str, tuple[int, float | str]] = {}
    for step, metrics in (found for before in attempts for found in _reports(trial, before)):
        if saved is None or step <= saved:
            last.update({metric: (step, value) for metric, value in metrics.items()})
    counted = last_number(name) if saved is None else saved
    return Earlier(
        last,
        {metric: step if counted is None else min(step, counted) for metric, (step, _) in last.items()},
        any(step > assignment.from_step for step, _ in last.values()),
        saved,
    )


def _reports(trial: TrialLayout, attempt: Attempt) -> Iterator[tuple[int, Metrics]]:
    """Yields the step and the metrics of each report, those that an attempt with many does not keep as well."""
    if not attempt.is_thinned:
        yield from ((report.step, report.metrics) for report in attempt.reports)
        return
    for block in journal.blocks(trial.journal(attempt.number)):
        records = tuple(journal.records_in(block))
        for begin in range(0, len(records), FEWEST_REPORTS):  # of so few records every report is kept
            part = fold(unread(attempt.number), records[begin : begin + FEWEST_REPORTS])
            yield from ((report.step, report.metrics) for report in part.reports)


def _saved_at(name: str, attempts: Sequence[Attempt], assignment: Assignment) -> int | None:
    """Returns the step of the checkpoint with this name.

    None if no attempt reported it: the number in its name may count something else than reports do. Then all reports
    count, since an attempt that had some of them to repeat would report them again.
    """
    for attempt in reversed(attempts):
        for step, path in reversed(attempt.checkpoints):
            if PurePath(path).name == name:
                return step
    is_copy = assignment.resume_from is not None and PurePath(assignment.resume_from).name == name
    return assignment.from_step if is_copy else None
