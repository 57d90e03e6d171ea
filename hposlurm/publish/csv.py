"""Writes `results.csv` and `reports.csv` for spreadsheets; published by rename."""

from __future__ import annotations

from hposlurm.publish.base import Published
from hposlurm.publish.cursor import Cursor
from hposlurm.records import files
from hposlurm.report.rows import columns, report_rows, result_row, to_csv
from hposlurm.spec.fields import Section


class Tables:
    """Replaces results.csv (a row per trial, by number) and reports.csv (a row per trial, attempt and step)."""

    def __init__(self, _options: Section) -> None:
        pass

    def publish(self, study: Published, _cursor: Cursor, /) -> None:
        history, limits, objectives = study.history, study.spec.limits, study.spec.objectives
        names = columns([history])
        rows = (result_row(trial, names, limits, objectives) for trial in history.trials)
        results = to_csv(names.names, rows, is_safe=True)
        header = ("trial", "attempt", "step", *names.metrics.values(), "time")
        reports = to_csv(header, report_rows(history, names), is_safe=True)
        files.publish(study.layout.results, results.encode())
        files.publish(study.layout.reports, reports.encode())
