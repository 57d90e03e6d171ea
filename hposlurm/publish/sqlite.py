"""Writes `study.db`: built on a node-local disk, where SQLite's locks work, then published by rename."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from itertools import chain
from pathlib import Path

from hposlurm.errors import StudyError
from hposlurm.publish.base import Published
from hposlurm.publish.cursor import Cursor
from hposlurm.records import files
from hposlurm.records.database import READ_ONLY, SCHEMA, SCHEMA_VERSION, sealed
from hposlurm.records.history import History
from hposlurm.records.jobs import read_jobs
from hposlurm.records.layout import StudyLayout
from hposlurm.records.partial import final_trials
from hposlurm.records.thinning import Needed, counting_steps
from hposlurm.report.published import sources_text
from hposlurm.report.results import TrialResult, result_of
from hposlurm.report.summary import sources_of
from hposlurm.spec.fields import Section
from hposlurm.trial import Attempt, EndCause, Objective, ParamValue, Trial, TrialState

Cell = float | int | str | None
Row = Sequence[Cell]


class Database:
    """Replaces `study.db`. Raises StudyError if SQLite fails, OSError if writing the file fails."""

    def __init__(self, _options: Section) -> None:
        pass

    def publish(self, study: Published, _cursor: Cursor, /) -> None:
        database = study.layout.database
        with tempfile.TemporaryDirectory(prefix="hposlurm-") as directory:
            local = Path(directory) / "study.db"
            try:
                build(local, study.layout, study.history, study.spec.objectives)
            except (sqlite3.Error, OverflowError) as error:
                raise StudyError(f"building {database} in {directory} failed: {error}") from error
            files.publish(database, sealed(local.read_bytes()), READ_ONLY)


def build(path: Path, layout: StudyLayout, history: History, objectives: Sequence[Objective]) -> None:
    """Creates the database of `history` at `path`, which must not exist; the job ids are read from `layout`."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")  # a WAL file would stay beside the published file
        connection.execute("PRAGMA synchronous = OFF")  # an unfinished file is discarded anyway
        connection.executescript(SCHEMA)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("BEGIN")
        _insert(connection, "study", _studies(layout, history))
        _insert(connection, "waves", _waves(history))
        _insert(connection, "jobs", _jobs(layout, history))
        final = final_trials(history)
        for trial in history.trials:
            _insert_trial(connection, trial, history, objectives, is_final=trial.number in final)
        connection.execute("COMMIT")


def _insert(connection: sqlite3.Connection, table: str, rows: Iterator[Row] | Sequence[Row]) -> None:
    every = iter(rows)
    for first in every:
        marks = ", ".join("?" * len(first))
        connection.executemany(f"INSERT INTO {table} VALUES ({marks})", chain([first], every))


def _studies(layout: StudyLayout, history: History) -> Iterator[Row]:
    if history.plans:
        first, last = history.plans[0], history.plans[-1]
        objectives = json.dumps(history.objectives)
        needed = json.dumps(asdict(history.needed))
        sources = sources_text(sources_of(layout, len(history.plans)))
        yield first.study, first.created_at, last.spec, objectives, last.retries, last.finished, needed, sources


def _waves(history: History) -> Iterator[Row]:
    for plan in history.plans:
        size = len(plan.assignments)
        yield (
            *(plan.wave, plan.created_at, plan.spec, plan.seed, size),
            *(plan.gpus, plan.cpus, plan.timeout_s, plan.finished),
        )


def _jobs(layout: StudyLayout, history: History) -> Iterator[Row]:
    for plan in history.plans:
        jobs = read_jobs(layout.wave(plan.wave))
        if jobs is None:
            continue
        for array in jobs.arrays:
            yield array.job_id, plan.wave, "array", array.offset, array.count
        if jobs.planner is not None:
            yield jobs.planner, plan.wave, "planner", None, None


def _insert_trial(
    connection: sqlite3.Connection, trial: Trial, history: History, objectives: Sequence[Objective], *, is_final: bool
) -> None:
    number = trial.number
    journalled = {attempt.number: attempt for attempt in history.journals.get(number, ())}
    names = history.objectives
    _insert(connection, "results", [_trial(trial, result_of(trial, objectives), is_final=is_final)])
    _insert(connection, "parameters", [(number, name, _param(value)) for name, value in trial.params.items()])
    values = enumerate(zip(names, trial.values or (), strict=False))
    _insert(connection, "objective_values", [(number, i, name, value) for i, (name, value) in values])
    for attempt in trial.attempts:
        _insert(connection, "attempts", [_attempt(number, attempt, journalled.get(attempt.number))])
        _insert(connection, "reports", _intermediate_values(number, attempt, _counting(trial, attempt, history.needed)))


def _trial(trial: Trial, result: TrialResult, *, is_final: bool) -> Row:
    return (
        *(trial.number, trial.state, trial.wave, trial.signature, trial.seed, len(trial.attempts)),
        *(trial.runtime_s, trial.gpu_hours, trial.peak_host_gb, trial.peak_gpu_gb, trial.reason),
        json.dumps(trial.tail),
        json.dumps(trial.attrs, sort_keys=True),
        int(trial.infeasible),
        *(json.dumps(dict(trial.params)), result.step, json.dumps(result.last)),
        *(json.dumps([None if best is None else asdict(best) for best in result.best]), result.node, int(is_final)),
    )


def _cause(cause: EndCause | None) -> Cell:
    return None if cause is None else json.dumps(cause.to_json())


def _param(value: ParamValue) -> Cell:
    """Returns `value`; an integer beyond the 64 bits of SQLite's integers is returned as its digits."""
    return str(value) if isinstance(value, int) and abs(value) >= 2**63 else value


def _counting(trial: Trial, attempt: Attempt, needed: Needed) -> set[int]:
    """Returns the steps on which the trial's row of results depends; all, unless it was trained in one go."""
    in_one_go = len(trial.attempts) == 1 and [stage.is_final for stage in trial.stages] == [True]
    if trial.state is TrialState.COMPLETE and in_one_go:
        return counting_steps(attempt.reports, needed)
    return {report.step for report in attempt.reports}


def _intermediate_values(number: int, attempt: Attempt, counting: Collection[int]) -> Iterator[Row]:
    for report in attempt.reports:
        for name, value in report.metrics.items():
            is_text = isinstance(value, str)
            cells = (None, value) if is_text else (value, None)
            yield number, attempt.number, report.step, name, *cells, report.time, report.number, report.step in counting


def _attempt(trial: int, attempt: Attempt, journalled: Attempt | None) -> Row:
    """Returns the attempt as it counts, then the same facts from its journal (`journalled`; None without a journal)."""
    own: Row = (None,) * 5
    own_cause = None if journalled is None else journalled.cause
    if journalled is not None:
        own = (journalled.outcome, journalled.reason, journalled.ended_at, journalled.gpus, journalled.offset)
    return (
        *(trial, attempt.number, attempt.wave, attempt.index, attempt.job_id, attempt.job_state, attempt.host),
        *(attempt.gpus, attempt.gpu_ids, attempt.restart, attempt.stage, attempt.started_at, attempt.ended_at),
        *(attempt.outcome, attempt.reason, attempt.exit_code, attempt.elapsed_s, attempt.gpu_hours),
        *(attempt.peak_host_gb, attempt.peak_gpu_gb, attempt.git_commit, attempt.resumed_from, attempt.log),
        *(json.dumps(attempt.checkpoints), json.dumps(attempt.metrics), json.dumps(attempt.tail)),
        *own,
        attempt.corrupt_lines,
        *(_cause(attempt.cause), _cause(own_cause), json.dumps(attempt.saved), attempt.left_out),
        json.dumps(attempt.notes),
    )
