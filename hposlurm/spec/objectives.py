"""Which of a trial's reports counts for an objective, where the study file does not say so; on the raw data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hposlurm.errors import Problem
from hposlurm.spec.algorithms import PRUNERS
from hposlurm.spec.draft import Draft, mappings
from hposlurm.trial import CountedReport


def with_counted_reports(data: Mapping[str, Any]) -> dict[str, Any]:
    """Returns `data` with a `report` for each objective: the best one counts, whatever overfitting does later.

    In a population the last one counts: members are compared by what they are now. This is a default of new files. In
    files of launched studies, which name all defaults, a missing one means the last report, as older versions did.
    """
    objectives = data.get("objectives")
    if not isinstance(objectives, list):
        return dict(data)
    usual = CountedReport.LAST if _is_population(data.get("search")) else CountedReport.BEST
    entries = [{"report": usual.value, **entry} if isinstance(entry, dict) else entry for entry in objectives]
    return {**data, "objectives": entries}


def _is_population(search: Any) -> bool:
    given = (search.get("algorithm"), search.get("pruner")) if isinstance(search, dict) else ()
    return any(row.in_generations and row.name in given for row in PRUNERS.values())


def report_problems(data: Mapping[str, Any], draft: Draft) -> Iterator[Problem]:
    """Yields a problem for each objective whose best report counts in a population."""
    spec = draft.search.whole
    for path, entry in mappings(data.get("objectives"), "objectives"):
        if entry.get("report") == CountedReport.BEST and spec is not None and spec.in_generations:
            what = f"best is not for {spec.pair[1]}, which compares what the members are now"
            yield Problem(f"{path}.report", what, "last, or remove it")
