"""Builds result and report rows: flat records with stable column names, for tables and published files.

All functions are pure.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from hposlurm.records.history import History
from hposlurm.report.printable import no_formula, without_controls
from hposlurm.report.results import TrialResult, result_of
from hposlurm.space.metric_constraints import NO_LIMITS, Limits
from hposlurm.trial import Objective, ParamValue, Trial, TrialState, is_finite, latest_metrics

Row = dict[str, ParamValue]

FIRST = ("trial", "state", "wave", "attempts", "step")
LAST = ("runtime", "gpu_hours", "node", "reason")
_PEAKS = ("peak_host_gb", "peak_gpu_gb")  # placed before the node
# A spreadsheet with more columns serves nobody, and each of them costs a cell in every row. study.db has all metrics.
MOST_METRIC_COLUMNS = 200
_RESERVED = frozenset({*FIRST, *LAST, "study", "attempt", "step", "time"})


@dataclass(frozen=True, slots=True)
class Columns:
    """The column of each parameter and of each metric.

    Both keep their own names. A name that is taken, by a fixed column or by a parameter, gets a prefix: `param.wave`,
    `metric.runtime`.
    """

    params: Mapping[str, str]
    metrics: Mapping[str, str]
    #: The memory columns. A metric of the same name is included in them, unless a parameter or an objective has the
    #: name.
    peaks: tuple[str, ...] = ()
    #: How many metrics have no column, because there are too many.
    left_out: int = 0
    #: For each objective: the columns of its best value, of the step of that, and of its last value.
    ends: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Returns all columns of a result row, in order."""
        own = {column: self.ends.get(name, ()) for name, column in self.metrics.items()}
        metrics = chain.from_iterable((c, *ends) for c, ends in own.items() if c not in self.peaks)
        return (*FIRST, *self.params.values(), *metrics, *LAST[:2], *self.peaks, *LAST[2:])


def columns(histories: Sequence[History]) -> Columns:
    """Returns the columns for one table of `histories`."""
    trials = [trial for history in histories for trial in history.trials]
    objectives = [name for history in histories for name in history.objectives]
    return columns_of(objectives, (t.params for t in trials), (latest_metrics(t.attempts) for t in trials))


def columns_of(
    objectives: Sequence[str], params: Iterable[Iterable[str]], reported: Iterable[Iterable[str]]
) -> Columns:
    """Returns the columns for one table: parameters as first seen, objectives, other metrics as first seen.

    `params` and `reported` have the names of each trial's parameters and metrics. Of very many metrics only the first
    ones have a column.
    """
    taken = set(_RESERVED)
    own_params = _named(chain.from_iterable(params), "param", taken)
    known = tuple(dict.fromkeys(chain(objectives, chain.from_iterable(reported))))
    metrics = _named(known[: max(MOST_METRIC_COLUMNS, len(objectives))], "metric", taken)
    own = {*own_params.values(), *(metrics[name] for name in objectives)}
    peaks, left_out = tuple(name for name in _PEAKS if name not in own), len(known) - len(metrics)
    ends = {name: _ends(metrics[name], taken) for name in objectives}
    return Columns(own_params, metrics, peaks, left_out, ends)


def _ends(column: str, taken: set[str]) -> tuple[str, str, str]:
    best, step, last = _named((f"{column}.best", f"{column}.best_step", f"{column}.last"), "metric", taken).values()
    return best, step, last


def _named(names: Iterable[str], prefix: str, taken: set[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in dict.fromkeys(names):
        column = name
        while column in taken:
            column = f"{prefix}.{column}"
        taken.add(column)
        found[name] = column
    return found


def result_row(
    trial: Trial | TrialResult, names: Columns, limits: Limits = NO_LIMITS, objectives: Sequence[Objective] = ()
) -> Row:
    """Returns the row of a trial; None stands for a value that does not apply (an inactive parameter) or is unknown.

    `step` is the last reported one, `runtime` is in seconds, the peaks of memory are in GiB, `node` is the last one. A
    metric has its last reported value, and one of the `objectives` the value that counts; a value that is not a finite
    number is text. `reason` says why the trial failed or was interrupted, with the last line of its output, or which of
    the `limits` a completed trial breaks.
    """
    found = result_of(trial, objectives) if isinstance(trial, Trial) else trial
    known: dict[str, ParamValue] = {
        "trial": found.number,
        "state": str(found.state),
        "wave": found.wave,
        "attempts": found.attempts,
        "step": found.step,
        "runtime": found.runtime_s,
        "gpu_hours": found.gpu_hours,
        "node": found.node,
        "reason": found.reason or _broken(found, limits),
    }
    known.update((column, found.params.get(name)) for name, column in names.params.items())
    known.update((column, found.last.get(name)) for name, column in names.metrics.items())
    for objective, best in zip(objectives, found.best, strict=True):
        last = found.last.get(objective.metric)
        if objective.rule is objective.best and best is not None and is_finite(last):
            known[names.metrics[objective.metric]] = best.value
        cells = (None, None) if best is None else (best.value, best.step)
        known.update(zip(names.ends.get(objective.metric, ()), (*cells, last), strict=False))
    known.update((column, getattr(found, column)) for column in names.peaks)
    return {name: known.get(name) for name in names.names}


def _broken(found: TrialResult, limits: Limits) -> str | None:
    if found.state is not TrialState.COMPLETE or not limits.expressions:
        return None
    broken = limits.complaints(found.params, found.known_metrics)
    return f"infeasible: {'; '.join(broken)}" if broken else None


def report_rows(history: History, names: Columns) -> Iterator[Row]:
    """Yields one row per trial, attempt and step; steps that a resumed attempt repeated have a row for each attempt."""
    for trial in history.trials:
        for attempt in trial.attempts:
            for report in sorted(attempt.reports, key=lambda r: r.step):
                row: Row = {"trial": trial.number, "attempt": attempt.number, "step": report.step}
                row.update({column: report.metrics.get(name) for name, column in names.metrics.items()})
                yield {**row, "time": report.time}


def to_csv(header: Sequence[str], rows: Iterable[Mapping[str, ParamValue]], *, is_safe: bool = False) -> str:
    """Returns CSV with full precision; a missing value is an empty cell. Texts have no control characters.

    With `is_safe` an apostrophe is put before a text that a spreadsheet would take for a formula (`= + - @`).
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([_csv_cell(name, is_safe) for name in header])
    writer.writerows([_csv_cell(row.get(name), is_safe) for name in header] for row in rows)
    return text.getvalue()


def _csv_cell(value: ParamValue, is_safe: bool) -> ParamValue:
    if not isinstance(value, str):
        return value
    plain = without_controls(value)
    return no_formula(plain) if is_safe else plain
