"""Says in a few lines what a reader asks first: how far the study is, what it found, what it cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hposlurm.decisions import trials_wanted
from hposlurm.records.history import History
from hposlurm.report.budget import BudgetUse, budget_use
from hposlurm.report.page.shortening import short
from hposlurm.report.phase import find_phase
from hposlurm.report.printable import printable
from hposlurm.report.progress import BestTrial, best_trial
from hposlurm.report.remarks import remarks
from hposlurm.trial import Outcome, TrialState, param_text

if TYPE_CHECKING:
    from hposlurm.report.records import StudyRecords
    from hposlurm.spec import StudySpec


@dataclass(frozen=True, slots=True)
class BestLine:
    """The best trial, with its values and parameters as text."""

    row: int
    trial: int
    values: Mapping[str, float]
    params: Mapping[str, str]
    #: what to add: limits that it breaks, the Pareto front
    remark: str


@dataclass(frozen=True, slots=True)
class Head:
    """The first lines about a study."""

    study: str
    tags: Mapping[str, str]
    algorithm: str
    phase: str
    detail: str
    counts: Mapping[str, int]
    #: the number of trials that the study will have; None if unknown
    total: int | None
    best: BestLine | None
    gpu_hours: float
    #: GPU hours by what became of them
    costs: Mapping[str, float]
    budget: Mapping[str, BudgetUse]
    #: epoch second of the first plan
    begin: float
    hours: float
    is_simulated: bool
    #: the search's last notes, and remarks on how trials ran
    notes: tuple[str, ...]


def head(records: StudyRecords, begin: float, now: float) -> Head:
    """Returns the first lines; `begin` and `now` are epoch seconds."""
    spec, history = records.spec, records.history
    phase, detail = find_phase(records.layout, history)
    leader = best_trial(history, spec.objectives, spec.limits)
    last = history.plans[-1].notes if history.plans else ()
    return Head(
        study=spec.name,
        tags={printable(key): printable(value) for key, value in spec.tags.items()},
        algorithm=spec.search.name,
        phase=phase,
        detail=printable(detail),
        counts={str(state): count for state, count in history.counts().items() if count},
        total=len(history.trials) if history.finished else trials_wanted(spec),
        best=None if leader is None else _best_line(leader, history),
        gpu_hours=short(float(history.gpu_hours)),
        costs=_costs(history),
        budget=_budget(spec, history, now),
        begin=round(begin),
        hours=short((now - begin) / 3600),
        is_simulated=records.layout.simulated.exists(),
        notes=tuple(printable(note) for note in (*last, *remarks(history, spec.search))),
    )


def _best_line(leader: BestTrial, history: History) -> BestLine:
    row = next(row for row, trial in enumerate(history.trials) if trial.number == leader.trial)
    return BestLine(
        row=row,
        trial=leader.trial,
        values={printable(name): short(value) for name, value in leader.values.items()},
        params={
            printable(name): f"{short(value):g}" if isinstance(value, float) else printable(param_text(value))
            for name, value in leader.params.items()
        },
        remark=printable(leader.remark.removeprefix("; ")),
    )


def _budget(spec: StudySpec, history: History, now: float) -> Mapping[str, BudgetUse]:
    return budget_use(spec.budget, history, spec.objectives, now, spec.limits) if history.plans else {}


#: What became of the GPU hours of an attempt, by its outcome or by its trial's state.
_LOST: Sequence[tuple[Outcome, str]] = (
    (Outcome.FAIL, "failed"),
    (Outcome.INFEASIBLE, "failed"),
    (Outcome.DROPPED, "failed"),
    (Outcome.INTERRUPTED, "interrupted"),
)
_SPENT: Sequence[tuple[TrialState, str]] = (
    (TrialState.COMPLETE, "completed trials"),
    (TrialState.PRUNED, "stopped trials"),
    (TrialState.PAUSED, "paused trials"),
)


def _costs(history: History) -> dict[str, float]:
    lost, spent = dict(_LOST), dict(_SPENT)
    found: dict[str, float] = {}
    for trial in history.trials:
        for attempt in trial.attempts:
            kind = lost.get(attempt.outcome) if attempt.outcome else None
            kind = kind or spent.get(trial.state, "other trials")
            found[kind] = found.get(kind, 0.0) + attempt.gpu_hours
    return {kind: short(float(hours)) for kind, hours in found.items() if hours > 0}
