"""What is new in a history since an outside service was last sent something."""

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
    """What is new of one trial."""

    trial: Trial
    #: False if nothing but reports is new.
    is_changed: bool
    #: The new reports in the order in which they were made, each with its attempt.
    reports: tuple[tuple[Attempt, Report], ...]


class Cursor:
    """How far an outside service is. `sent` is what it was sent, by the trial's number."""

    def __init__(self, sent: Mapping[str, Sent]) -> None:
        self.sent = dict(sent)

    def news(self, history: History) -> Iterator[TrialNews]:
        """Yields the trials with something new; each counts as sent once the next one is asked for."""
        for trial in history.trials:
            before = self.sent.get(str(trial.number), Sent(""))
            now = _sent(trial)
            if now == before:
                continue
            yield TrialNews(trial, now.digest != before.digest, tuple(_new_reports(trial, before.reports)))
            self.sent[str(trial.number)] = now


def _sent(trial: Trial) -> Sent:
    counts = {str(attempt.number): len(attempt.reports) for attempt in trial.attempts if attempt.reports}
    return Sent(digest_of(asdict(_without_reports(trial))), counts)


def _without_reports(trial: Trial) -> Trial:
    attempts = tuple(replace(attempt, reports=(), offset=0) for attempt in trial.attempts)
    return replace(trial, reports=(), attempts=attempts)


def _new_reports(trial: Trial, sent: Mapping[str, int]) -> Iterator[tuple[Attempt, Report]]:
    for attempt in trial.attempts:
        for report in attempt.reports[sent.get(str(attempt.number), 0) :]:
            yield attempt, report


def digest_of(value: object) -> str:
    """Returns a text that differs for values whose JSON differs, whatever the order of their keys."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
