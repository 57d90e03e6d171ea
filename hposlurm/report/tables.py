"""Builds the result table of one or several studies, best first: a pure function of their histories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING

from hposlurm.records.history import History
from hposlurm.records.ranking import keeps, ranked
from hposlurm.report.results import TrialResult, result_of
from hposlurm.report.rows import Row, columns_of, result_row
from hposlurm.space.metric_constraints import NO_LIMITS, Limits
from hposlurm.trial import Objective, TrialState

if TYPE_CHECKING:
    import pandas as pd

_AFTER_COMPLETE = (TrialState.PRUNED, TrialState.RUNNING, TrialState.PAUSED, TrialState.WAITING, TrialState.FAIL)


@dataclass(frozen=True, slots=True)
class StudyResults:
    """The part of a study that a result table needs."""

    name: str
    history: History
    objectives: tuple[Objective, ...]
    limits: Limits = NO_LIMITS
    #: the results of trials that are not in the history
    known: tuple[TrialResult, ...] = ()
    #: what a person should know of how the trials ran
    remarks: tuple[str, ...] = ()
    #: True if trials are compared before their end
    has_rungs: bool = False

    @property
    def trials(self) -> tuple[TrialResult, ...]:
        """Returns the results of all trials, by number."""
        found = [*self.known, *(result_of(trial, self.objectives) for trial in self.history.trials)]
        return tuple(sorted(found, key=attrgetter("number")))


@dataclass(frozen=True, slots=True)
class Table:
    """Rows with the same columns."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    #: the columns of parameters
    params: tuple[str, ...] = ()
    #: the columns of objectives
    objectives: tuple[str, ...] = ()
    #: the columns of all other metrics
    metrics: tuple[str, ...] = ()
    #: how many metrics have no column, because there are too many
    left_out: int = 0
    #: the columns of each objective's best value, its step and its last value, by the objective's column
    ends: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)

    @property
    def frame(self) -> pd.DataFrame:
        """Returns the rows as a DataFrame, for notebooks and plots; an inactive parameter is missing.

        `Study.open("bloom-squad").collect().frame` is what `hposlurm collect` shows.
        """
        import pandas as pd

        return pd.DataFrame(list(self.rows), columns=list(self.columns))


_Own = tuple[StudyResults, Sequence[TrialResult]]


def collect(studies: Sequence[StudyResults]) -> Table:
    """Returns one row per trial: COMPLETE ones best first, then PRUNED, RUNNING, PAUSED, WAITING and FAIL.

    Infeasible trials are the last of the COMPLETE ones. A table of several studies has a column `study`. The studies
    are ranked together if they have the same objectives, else one after the other.
    """
    owned = [(study, study.trials) for study in studies]
    together = [trial for _, own in owned for trial in own]
    objectives = [name for study in studies for name in study.history.objectives]
    names = columns_of(objectives, (trial.params for trial in together), (trial.last for trial in together))
    several = len(studies) > 1
    owners = {id(trial): study for study, own in owned for trial in own}
    rows = []
    for trial in _ordered(owned):
        owner = owners[id(trial)]
        row = result_row(trial, names, owner.limits, owner.objectives)
        rows.append({"study": owner.name, **row} if several else row)
    goals = dict.fromkeys(names.metrics[name] for name in objectives)
    return Table(
        columns=("study", *names.names) if several else names.names,
        rows=tuple(rows),
        params=tuple(names.params.values()),
        objectives=tuple(goals),
        metrics=tuple(column for column in names.metrics.values() if column not in {*goals, *names.peaks}),
        left_out=names.left_out,
        ends={names.metrics[name]: ends for name, ends in names.ends.items()},
    )


def _ordered(studies: Sequence[_Own]) -> list[TrialResult]:
    if len({study.objectives for study, _ in studies}) > 1:
        return [trial for own in studies for trial in _ordered([own])]
    order = _ranked(studies)
    by_state: dict[TrialState, list[TrialResult]] = {state: [] for state in TrialState}
    for trial in chain.from_iterable(trials for _, trials in studies):
        by_state[trial.state].append(trial)
    return [*order, *chain.from_iterable(by_state[state] for state in _AFTER_COMPLETE)]


def _ranked(studies: Sequence[_Own]) -> list[TrialResult]:
    """Ranks the completed trials of studies with the same objectives; those that break their study's limits last."""
    objectives = studies[0][0].objectives if studies else ()
    trials = [trial for _, own in studies for trial in own]
    infeasible = {id(t) for study, own in studies for t in own if not keeps(t, study.limits)}
    feasible = ranked((trial for trial in trials if id(trial) not in infeasible), objectives)
    if not infeasible:
        return feasible
    rest = chain.from_iterable(ranked(own, objectives, study.limits) for study, own in studies)
    return [*feasible, *(trial for trial in rest if id(trial) in infeasible)]
