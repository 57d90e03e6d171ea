"""A notice as plain data, and what notices are made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from hposlurm.records.ranking import losses
from hposlurm.report.budget import raised
from hposlurm.report.numbers import counted, spans
from hposlurm.report.records import StudyRecords
from hposlurm.trial import Trial, TrialState

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec

_NAMED = 6


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing that is noticed in the results."""

    #: for programs: "no_effect", "at_bound", "duplicates", "default_is_best", "constant_metric", "impossible_metric",
    #: "noise", "cut_winner", "wasted", "limit_too_long", "limit_too_short"
    kind: str
    #: what is the case, as a sentence without its full stop
    text: str
    #: what to do, as a sentence without its full stop
    advice: str
    #: the trials that show it, by number
    trials: tuple[int, ...] = ()
    #: the command with which the advice ends, to be copied; "" without one
    command: str = ""

    @property
    def line(self) -> str:
        """Returns all of it as one line for a person, with the trials."""
        who = f" ({named(self.trials)})" if self.trials else ""
        return f"{self.text}{who}: {self.advice}"

    def to_json(self) -> dict[str, Any]:
        """Returns the same data with stable keys, for programs."""
        return asdict(self)


def named(trials: Sequence[int]) -> str:
    """Returns "trial 4", or "12 trials: 0-5, 7, …"."""
    if len(trials) == 1:
        return f"trial {trials[0]}"
    return f"{counted(len(trials), 'trial')}: {spans(sorted(trials), _NAMED)}"


@dataclass(frozen=True, slots=True)
class Evidence:
    """A study's records, and what several kinds of notices need of them."""

    records: StudyRecords
    #: the completed trials, best first; with several objectives by the first one
    complete: tuple[Trial, ...]

    @property
    def spec(self) -> StudySpec:
        return self.records.spec

    def loss(self, trial: Trial) -> float:
        """Returns the first objective's value of a completed trial so that less is better."""
        return losses(trial, self.spec.objectives)[0]

    @property
    def widens(self) -> bool:
        """True if the study can go on with a changed spec."""
        return not self.records.layout.simulated.exists()

    def change(self, setting: str) -> str:
        """Returns the command that goes on with a changed spec, or the setting for the next study."""
        if not self.widens:
            return f"--set {setting} at the next launch"
        more = raised(self.records.history, self.spec.budget)
        settings = [setting, *([more] if more else [])]
        return f"hposlurm resume {self.records.layout.root.name} {' '.join(f'--set {each}' for each in settings)}"


def evidence_of(records: StudyRecords) -> Evidence:
    """Returns the records with the completed trials in order."""
    objectives = records.spec.objectives
    complete = [t for t in records.history.trials if t.state is TrialState.COMPLETE and t.values is not None]
    complete.sort(key=lambda trial: (losses(trial, objectives)[0], trial.number))
    return Evidence(records, tuple(complete))
