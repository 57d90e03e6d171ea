"""Reads the results of a study: of trials that are over for good from `study.db`, of the open ones from their records.

Like `summary.json`, the database is only a shortcut: if it is not about the same records, all of them are read.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from hposlurm.records import database
from hposlurm.records.decode import field_readers
from hposlurm.records.gc_pause import gc_paused
from hposlurm.records.layout import StudyLayout
from hposlurm.report.records import read_records
from hposlurm.report.remarks import remark_lines, remarks, tally_remarks
from hposlurm.report.results import TrialResult, reason_text
from hposlurm.report.summary import Sources, Summary, by_summary
from hposlurm.report.tables import StudyResults
from hposlurm.trial import Trial

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec

# The column of each field of TrialResult that has one
_COLUMNS = {
    "number": "trial",
    **{name: name for name in ("state", "wave", "attempts", "step", "runtime_s", "gpu_hours")},
    **{name: name for name in ("peak_host_gb", "peak_gpu_gb", "node", "params", "last", "best")},
}
# Those whose cells are JSON
_AS_JSON = frozenset({"params", "last", "best"})


@gc_paused()
def read_results(layout: StudyLayout, spec: StudySpec | None = None) -> StudyResults:
    """Returns the results of a study as they are now. Give `spec` if it is known.

    Raises StudyError or SpecError if the records cannot be read.
    """
    found = by_summary(layout)
    known = None if found is None else _published(layout, found[0])
    if found is None or known is None:
        records = read_records(layout, spec, curves=False)
        search, rungs = records.spec.search, records.history.needed.rungs
        return replace(records.results, remarks=remarks(records.history, search), has_rungs=bool(rungs))
    _, view = found
    facts = view.facts
    return StudyResults(
        name=facts.name,
        history=view.history,
        objectives=facts.objectives,
        limits=facts.limits.parsed(),
        known=known,
        remarks=remark_lines(view.rest.remarks + tally_remarks(view.history.trials), facts.past_step_advice),
        has_rungs=bool(facts.needed.rungs),
    )


def _published(layout: StudyLayout, summary: Summary) -> tuple[TrialResult, ...] | None:
    """Returns the results of the trials in `summary`; None if the database does not have all of them."""
    try:
        with database.opened(layout.database) as connection:
            if not _is_about(connection, summary.sources):
                return None
            known = _results(connection, len(summary.facts.objectives))
    except database.DAMAGES:
        return None
    wanted = {number for first, last in summary.final for number in range(first, last + 1)}
    found = tuple(result for result in known if result.number in wanted)
    return found if len(found) == len(wanted) else None


def sources_text(sources: Sources) -> str:
    """Returns the records that a database is about, as its table `study` has them."""
    return json.dumps(asdict(sources))


def _is_about(connection: sqlite3.Connection, sources: Sources) -> bool:
    return connection.execute("SELECT sources FROM study").fetchall() == [(sources_text(sources),)]


def _results(connection: sqlite3.Connection, objectives: int) -> list[TrialResult]:
    values: dict[int, tuple[float, ...]] = {}
    for trial, value in connection.execute("SELECT trial, value FROM objective_values ORDER BY trial, objective"):
        values[trial] = (*values.get(trial, ()), value)
    query = f"SELECT reason, tail, infeasible, {', '.join(_COLUMNS.values())} FROM results WHERE final ORDER BY trial"
    return [_result(values, objectives, row) for row in connection.execute(query)]


def _result(values: dict[int, tuple[float, ...]], objectives: int, row: Sequence[Any]) -> TrialResult:
    """Returns the result in `row`. Raises ValueError or TypeError for a cell that no trial can have."""
    reason, tail, infeasible, *cells = row
    readers = field_readers(TrialResult)
    known = {
        name: readers[name](json.loads(cell) if name in _AS_JSON else cell)
        for name, cell in zip(_COLUMNS, cells, strict=True)
    }
    lines = () if tail == "[]" else field_readers(Trial)["tail"](json.loads(tail))
    own = readers["values"]([*values[known["number"]]] if known["number"] in values else None)
    if len(known["best"]) != objectives or (own is not None and len(own) != objectives):
        raise ValueError(f"trial {known['number']} has not {objectives} objectives")
    return TrialResult(values=own, reason=reason_text(reason, lines, is_infeasible=bool(infeasible)), **known)
