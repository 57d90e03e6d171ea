"""Turns the records of one study into the data of its part of the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hposlurm.records.gc_pause import gc_paused
from hposlurm.records.history import History
from hposlurm.records.ranking import pareto_front, ranked
from hposlurm.report.logs import output_tail
from hposlurm.report.notices import Notice, notices
from hposlurm.report.notices.edges import Edge, edges
from hposlurm.report.notices.notice import evidence_of
from hposlurm.report.page.best_so_far import BestSoFar, best_so_far
from hposlurm.report.page.columns import TrialColumns, first_start, trial_columns
from hposlurm.report.page.curves import Curves, curves
from hposlurm.report.page.failures import FailureGroup, failures
from hposlurm.report.page.head import Head, head
from hposlurm.report.page.lineage import PopulationLines, lineage
from hposlurm.report.page.provenance import Provenance, provenance
from hposlurm.report.page.rungs import MultiFidelity, multi_fidelity
from hposlurm.report.page.timeline import Timeline, timeline
from hposlurm.report.printable import printable_parts
from hposlurm.trial import TrialState

if TYPE_CHECKING:
    from hposlurm.report.records import StudyRecords
    from hposlurm.search.importance import Importance


@dataclass(frozen=True, slots=True)
class StudyPage:
    """All that the page shows of a study. A row is the position of a trial in the columns of `trials`."""

    head: Head
    notices: tuple[Notice, ...]
    trials: TrialColumns
    best_so_far: tuple[BestSoFar, ...]
    #: one for each objective
    curves: tuple[Curves, ...]
    importance: tuple[Importance, ...]
    #: where the best value of each parameter lies
    edges: tuple[Edge, ...]
    #: the rows of the Pareto front; () for a study with one objective
    front: tuple[int, ...]
    timeline: Timeline | None
    rungs: MultiFidelity | None
    lineage: PopulationLines | None
    failures: tuple[FailureGroup, ...]
    provenance: Provenance


@gc_paused()
def study_page(records: StudyRecords, now: float) -> StudyPage:
    """Returns the data of a study at `now` (epoch seconds). Raises StudyError for results that cannot be read."""
    spec, history, layout = records.spec, records.history, records.layout
    objectives, limits = spec.objectives, spec.limits
    begin, end = _span(history, now)
    rows = {trial.number: row for row, trial in enumerate(history.trials)}
    front = pareto_front(history.trials, objectives, limits) if len(objectives) > 1 else []
    parameters = sorted(spec.space.parameters, key=lambda p: spec.parameter_names.index(p.name))
    return StudyPage(
        head=head(records, begin, end),
        notices=tuple(printable_parts(notice) for notice in notices(records)),
        trials=trial_columns(history, objectives, parameters, limits, begin),
        best_so_far=best_so_far(history, objectives, limits, begin, end),
        curves=tuple(curves(history, objective) for objective in objectives),
        importance=_importance(records),
        edges=tuple(printable_parts(edge) for edge in edges(evidence_of(records))),
        front=tuple(rows[trial.number] for trial in front),
        timeline=timeline(records, begin, end),
        rungs=multi_fidelity(spec, history),
        lineage=lineage(history, sorted(spec.mutable), ranked(history.trials, objectives, limits)),
        failures=failures(history, lambda attempt: output_tail(layout, attempt.log)),
        provenance=provenance(layout, history),
    )


def study_pages(studies: Sequence[StudyRecords], now: float) -> tuple[StudyPage, ...]:
    """Returns the data of several studies, in their order."""
    return tuple(study_page(records, now) for records in studies)


def _importance(records: StudyRecords) -> tuple[Importance, ...]:
    from hposlurm.search.importance import importances  # Optuna takes 0.2 s to import

    trials = records.history.trials
    completed = [(t.params, t.values) for t in trials if t.state is TrialState.COMPLETE and t.values is not None]
    found = importances(records.spec.space, records.spec.objectives, completed)
    return tuple(printable_parts(each) for each in found)


def _span(history: History, now: float) -> tuple[float, float]:
    """Returns where the study's time begins and ends, in epoch seconds: for one that is over, at its last event."""
    starts = [time for trial in history.trials if (time := first_start(trial)) is not None]
    # a node whose clock is behind may have started before the first plan by its own clock
    begin = min([*starts, *(plan.created_at for plan in history.plans[:1])], default=now)
    if not history.finished:
        return begin, max(begin, now)
    ends = [a.ended_at for trial in history.trials for a in trial.attempts if a.ended_at is not None]
    return begin, max([begin, *ends])
