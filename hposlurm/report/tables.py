"""Builds the result table of one or several studies, best first: a pure function of their histories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING

from hposlurm.records.history import History, keeps, ranked
from hposlurm.report.rows import Row, columns, result_row
from hposlurm.space.metric_constraints import NO_LIMITS, Limits
from hposlurm.trial import Objective, Trial, TrialState

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


def collect(studies: Sequence[StudyResults]) -> Table:
    """Returns one row per trial: COMPLETE ones best first, then PRUNED, RUNNING, PAUSED, WAITING and FAIL.

    Infeasible trials are the last of the COMPLETE ones. A table of several studies has a column `study`. The studies
    are ranked together if they have the same objectives, else one after the other.
    """
    names = columns([study.history for study in studies])
    several = len(studies) > 1
    owners = {id(trial): study for study in studies for trial in study.history.trials}
    rows = []
    for trial in _ordered(studies):
        owner = owners[id(trial)]
        row = result_row(trial, names, owner.limits, owner.objectives)
        rows.append({"study": owner.name, **row} if several else row)
    goals = dict.fromkeys(names.metrics[name] for study in studies for name in study.history.objectives)
    return Table(
        columns=("study", *names.names) if several else names.names,
        rows=tuple(rows),
        params=tuple(names.params.values()),
        objectives=tuple(goals),
        metrics=tuple(column for column in names.metrics.values() if column not in {*goals, *names.peaks}),
        left_out=names.left_out,
        ends={names.metrics[name]: ends for name, ends in names.ends.items()},
    )


def _ordered(studies: Sequence[StudyResults]) -> list[Trial]:
    if len({study.objectives for study in studies}) > 1:
        return [trial for study in studies for trial in _ordered([study])]
    trials = list(chain.from_iterable(study.history.trials for study in studies))
    order = _ranked(studies)
    for state in _AFTER_COMPLETE:
        order += [trial for trial in trials if trial.state is state]
    return order


def _ranked(studies: Sequence[StudyResults]) -> list[Trial]:
    """Ranks the completed trials of studies with the same objectives; those that break their study's limits last."""
    objectives = studies[0].objectives if studies else ()
    trials = [trial for study in studies for trial in study.history.trials]
    infeasible = {id(t) for study in studies for t in study.history.trials if not keeps(t, study.limits)}
    feasible = ranked((trial for trial in trials if id(trial) not in infeasible), objectives)
    rest = chain.from_iterable(ranked(study.history.trials, objectives, study.limits) for study in studies)
    return [*feasible, *(trial for trial in rest if id(trial) in infeasible)]
