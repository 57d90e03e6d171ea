"""A study as an overview sees it: the digest of the trials that are over for good, and the open ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hposlurm.records.history import History
from hposlurm.records.layout import StudyLayout
from hposlurm.records.partial import final_trials, without
from hposlurm.report.digest import Digest, digest_of
from hposlurm.report.facts import StudyFacts, facts_of
from hposlurm.trial import TrialState

if TYPE_CHECKING:
    from hposlurm.report.notices.notice import Notice
    from hposlurm.report.records import StudyRecords


@dataclass(frozen=True, slots=True)
class StudyView:
    """The contents of a study's files at one moment, as far as an overview needs them."""

    layout: StudyLayout
    facts: StudyFacts
    #: the plans, and the open trials only
    history: History
    #: all other trials
    rest: Digest
    #: what was noticed in the results
    notices: tuple[Notice, ...]

    @property
    def name(self) -> str:
        """The study's name."""
        return self.history.plans[0].study if self.history.plans else self.layout.root.name

    @property
    def trials(self) -> int:
        """The number of all trials."""
        return sum(self.rest.counts.values()) + len(self.history.trials)

    @property
    def gpu_hours(self) -> float:
        """The GPU hours of all ended attempts."""
        return self.rest.gpu_hours + self.history.gpu_hours

    @property
    def total(self) -> int | None:
        """The number of trials that the study has at its end; None if unknown."""
        return self.trials if self.history.finished and not self.history.paused else self.facts.total

    @property
    def candidates(self) -> History:
        """The history with those trials only that may be the best one."""
        leaders = tuple(leader.as_trial() for leader in self.rest.leaders)
        return replace(self.history, trials=(*leaders, *self.history.trials))

    def counts(self) -> Mapping[TrialState, int]:
        """Returns the number of trials in each state; every state is a key."""
        found = Counter(self.rest.counts)
        found.update(str(trial.state) for trial in self.history.trials)
        return {state: found[str(state)] for state in TrialState}


def view_of(records: StudyRecords) -> StudyView:
    """Returns the view of a study all of whose records were read."""
    from hposlurm.report.notices import notices

    facts, final = facts_of(records.spec), final_trials(records.history)
    rest = digest_of(records.history, final, facts.objectives, records.spec.limits)
    return StudyView(records.layout, facts, without(records.history, final), rest, notices(records))
