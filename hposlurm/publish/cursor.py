"""Finds what is new in a history since the last results that an outside service received."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace

from hposlurm.records.history import History
from hposlurm.records.publications import Sent
from hposlurm.trial import Attempt, Report, Trial


@dataclass(frozen=True, slots=True)
class TrialNews:
    """The new results of one trial."""

    trial: Trial
    #: False if only reports are new.
    is_changed: bool
    #: The new reports in the order in which they were made, each with its attempt.
    reports: tuple[tuple[Attempt, Report], ...]


class Cursor:
    """The position of an outside service in the history.

    `sent` has what the service received, by the trial's number.
    """

    def __init__(self, sent: Mapping[str, Sent]) -> None:
        self.sent = dict(sent)

    def news(self, history: History) -> Iterator[TrialNews]:
        """Yields the trials with new results; a trial counts as sent when the next one is requested."""
        for trial in history.trials:
            before = self.sent.get(str(trial.number), Sent(""))
            now = _sent(trial)
            if now == before:
                continue
            yield TrialNews(trial, now.digest != before.digest, tuple(_new_reports(trial, before.reports)))
            self.sent[str(trial.number)] = now


def _sent(trial: Trial) -> Sent:
    counts = {str(attempt.number): attempt.reported for attempt in trial.attempts if attempt.reports}
    return Sent(digest_of(asdict(_without_reports(trial))), counts)


def _without_reports(trial: Trial) -> Trial:
    attempts = tuple(replace(attempt, reports=(), offset=0) for attempt in trial.attempts)
    return replace(trial, reports=(), attempts=attempts)


def _new_reports(trial: Trial, sent: Mapping[str, int]) -> Iterator[tuple[Attempt, Report]]:
    for attempt in trial.attempts:
        first = sent.get(str(attempt.number), 0)
        yield from ((attempt, report) for report in attempt.reports if report.number >= first)


def digest_of(value: object) -> str:
    """Returns 16 hex digits that differ for values whose JSON differs; the order of keys does not matter."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
