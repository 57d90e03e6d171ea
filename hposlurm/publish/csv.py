"""`results.csv` and `reports.csv`, for spreadsheets; published by rename."""

from __future__ import annotations

from hposlurm.records import files
from hposlurm.records.history import History
from hposlurm.records.layout import StudyLayout
from hposlurm.report.rows import columns, report_rows, result_row, to_csv
from hposlurm.space.metric_constraints import NO_LIMITS, Limits


def publish_tables(layout: StudyLayout, history: History, limits: Limits = NO_LIMITS) -> None:
    """Replaces results.csv (a row per trial, by number) and reports.csv (a row per trial, attempt and step)."""
    names = columns([history])
    results = to_csv(names.names, (result_row(trial, names, limits) for trial in history.trials))
    reports = to_csv(("trial", "attempt", "step", *names.metrics.values(), "time"), report_rows(history, names))
    files.publish(layout.results, results.encode())
    files.publish(layout.reports, reports.encode())
