"""Folds the records of one journal into an Attempt, without any settlement. Pure and incremental.

`fold(fold(a, x), y) == fold(a, x + y)`, so a reader may stop anywhere and continue later. `trial_state` then applies
the planner's settlements to the attempts. Only this lower layer is ever stored, since a journal may grow after its
attempt was settled.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from operator import lt
from pathlib import Path
from typing import Any

from hposlurm.records import journal
from hposlurm.records.decode import structure
from hposlurm.records.old_causes import cause_of
from hposlurm.records.report_lines import ReportFinder, ReportLines
from hposlurm.records.thinning import (
    FEWEST_REPORTS,
    MOST_METRICS,
    MOST_REPORTS,
    MOST_SAVED,
    NOTHING,
    Needed,
    chosen_steps,
    thinned,
)
from hposlurm.trial import Attempt, Cause, EndCause, Outcome, Report, is_finite, latest_metrics

Metrics = Mapping[str, float | str]

_PEAKS = ("peak_host_gb", "peak_gpu_gb")
_MOST_NOTES, _LONGEST_NOTE = 20, 500


def unread(number: int) -> Attempt:
    """Returns an attempt whose journal is still to be read; wave and index are -1 until its start record is read."""
    return Attempt(number=number, wave=-1, index=-1, job_id="", host="", gpus=0, started_at=0.0)


def fold(
    attempt: Attempt,
    records: Sequence[Mapping[str, Any]],
    *,
    offset: int | None = None,
    corrupt: int = 0,
    needed: Needed = NOTHING,
) -> Attempt:
    """Returns `attempt` with `records` added; counts a malformed record in `corrupt_lines` and ignores unknown kinds.

    `offset` is the end of the records in the journal, `corrupt` the number of lines among them that are not JSON.
    `needed` says which reports are kept whatever their number (see `thinning`).
    """
    offset = attempt.offset if offset is None else offset
    if not records and offset == attempt.offset:
        return attempt
    state = _begun(attempt, needed)
    state["corrupt_lines"] += corrupt
    for record in records:
        _add(state, record)
    return _ended(attempt, state, offset)


def read_on(path: Path, attempt: Attempt, needed: Needed = NOTHING) -> Attempt:
    """Returns `attempt` with the newer records of its journal at `path`; raises OSError if that cannot be read.

    Decodes only the records that are kept, and never has more than a part of the file in memory.
    """
    offset, state = attempt.offset, _begun(attempt, needed)
    finder = ReportFinder((*needed.names, *_PEAKS))
    for block in journal.blocks(path, offset):
        for piece in finder.pieces(block):
            if isinstance(piece, bytes):
                _add_line(state, piece, finder)
            elif not _add_reports(state, piece):
                for line in piece.lines:
                    _add_line(state, line, finder)
        offset += len(block)
    return attempt if offset == attempt.offset else _ended(attempt, state, offset)


def _begun(attempt: Attempt, needed: Needed) -> dict[str, Any]:
    reports = {report.step: report for report in attempt.reports}
    return {
        "started_at": attempt.started_at,
        "reports": reports,
        "count": attempt.reported,
        "names": {name for report in attempt.reports for name in report.metrics},
        "room": 2 * MOST_REPORTS,
        "needed": needed,
        "checkpoints": list(attempt.checkpoints),
        "saved": list(attempt.saved),
        "peak_host_gb": attempt.peak_host_gb,
        "peak_gpu_gb": attempt.peak_gpu_gb,
        "left_out": attempt.left_out,
        "corrupt_lines": attempt.corrupt_lines,
        "notes": attempt.notes,
    }


def _ended(attempt: Attempt, state: dict[str, Any], offset: int) -> Attempt:
    _thin(state)
    for passing in ("count", "names", "room", "needed"):
        del state[passing]
    state["reports"] = tuple(state["reports"].values())
    state["checkpoints"] = tuple(state["checkpoints"])
    state["saved"] = tuple(state["saved"])
    return replace(attempt, **state, offset=offset)


def _thin(state: dict[str, Any]) -> None:
    if state["count"] > FEWEST_REPORTS:
        state["reports"] = thinned(state["reports"], state["count"], state["saved"], state["needed"])
    state["room"] = 2 * max(MOST_REPORTS, len(state["reports"]))


def _add(state: dict[str, Any], record: Mapping[str, Any]) -> None:
    try:
        change = _CHANGES.get(record["kind"])
        if change is not None:
            change(state, record)
            state["started_at"] = state["started_at"] or _time(record["t"])
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
        state["corrupt_lines"] += 1


def _add_line(state: dict[str, Any], line: bytes, finder: ReportFinder) -> None:
    record = journal.parse_record(line)
    if record is None:
        state["corrupt_lines"] += 1
        return
    _add(state, record)
    metrics = record.get("metrics")
    if record.get("kind") == "report" and isinstance(metrics, dict) and metrics.keys() <= state["names"]:
        finder.learn(metrics)


def _add_reports(state: dict[str, Any], found: ReportLines) -> bool:
    """Adds those of `found` that are kept; False, and nothing is added, if a step was reported before a later one."""
    reports, count, steps = state["reports"], state["count"], found.steps
    newest = max(reports, default=steps[0] - 1)
    if steps[0] < newest:
        return False
    new = steps if steps[0] > newest and all(map(lt, steps, steps[1:])) else _steps_after(newest, steps)
    kept = chosen_steps(new, found.values, count, len(state["names"]), state["needed"])
    kept |= {steps[place] for place in found.last.values()} | ({newest} & {steps[0]})
    for step in sorted(kept):
        state["count"] = count + bisect_left(new, step)
        for line in found.lines[bisect_left(steps, step) : bisect_right(steps, step)]:
            _add(state, json.loads(line))
    state["count"] = count + len(new)
    if len(reports) > state["room"]:
        _thin(state)
    return True


def _steps_after(newest: int, steps: Sequence[int]) -> tuple[int, ...]:
    return tuple(step for step in dict.fromkeys(steps) if step > newest)


def _start(state: dict[str, Any], record: Mapping[str, Any]) -> None:
    state.update(
        wave=_whole(record["wave"]),
        index=_whole(record["index"]),
        host=_text(record["host"]),
        job_id=_text(record["job_id"]),
        gpus=_whole(record["gpus"]),
        started_at=_time(record["t"]),
        gpu_ids=_text(record.get("gpu_ids") or ""),
        restart=_whole(record.get("restart") or 0),
        stage=_whole(record.get("stage") or 0),
        git_commit=_text_or_none(record.get("git_commit")),
        resumed_from=_text_or_none(record.get("resumed_from")),
        log=_text(record.get("log") or ""),
    )


def _report(state: dict[str, Any], record: Mapping[str, Any]) -> None:
    metrics = _metrics(record["metrics"])
    step, time = _whole(record["step"]), _time(record["t"])
    metrics = _within_limit(state, metrics)
    if not metrics:
        return
    # one step may be reported in pieces: the loss by the trainer, the accuracy by the evaluation after it
    earlier = state["reports"].get(step)
    if earlier is not None:
        state["reports"][step] = Report(step, {**earlier.metrics, **metrics}, time, earlier.number)
    else:
        state["reports"][step] = Report(step, metrics, time, state["count"])
        state["count"] += 1
        if len(state["reports"]) > state["room"]:
            _thin(state)
    _memory(state, metrics)  # only the training knows its GPU memory, and a killed worker writes no end record


def _within_limit(state: dict[str, Any], metrics: dict[str, float | str]) -> dict[str, float | str]:
    """Returns `metrics` without those beyond MOST_METRICS; what decisions use always stays."""
    names = state["names"]
    if metrics.keys() <= names:
        return metrics
    for name in metrics.keys() - names if len(names) + len(metrics) <= MOST_METRICS else metrics:
        if len(names) < MOST_METRICS or name in state["needed"].names:
            names.add(name)
    kept = {name: value for name, value in metrics.items() if name in names}
    state["left_out"] += len(metrics) - len(kept)
    return kept


def _checkpoint(state: dict[str, Any], record: Mapping[str, Any]) -> None:
    state["checkpoints"].append((_whole(record["step"]), _text(record["path"])))
    if state["count"]:
        state["saved"] = [*state["saved"][1 - MOST_SAVED :], state["count"] - 1]


def _memory(state: dict[str, Any], record: Mapping[str, Any]) -> None:
    for key in _PEAKS:
        value = _float_or_none(record.get(key))
        if value is not None:
            state[key] = value if state[key] is None else max(value, state[key])


def _note(state: dict[str, Any], record: Mapping[str, Any]) -> None:
    if len(state["notes"]) < _MOST_NOTES:
        state["notes"] = (*state["notes"], _text(record["text"])[:_LONGEST_NOTE])


def _end(state: dict[str, Any], record: Mapping[str, Any]) -> None:
    exit_code = record.get("exit_code")
    state.update(
        outcome=Outcome(record["outcome"]),
        ended_at=_time(record["t"]),
        reason=_text(record.get("reason") or ""),
        exit_code=None if exit_code is None else _whole(exit_code),
        cause=_cause(record),
        metrics=_metrics(record.get("metrics") or {}),
        tail=tuple(_text(line) for line in record.get("tail") or ()),
    )


def _cause(record: Mapping[str, Any]) -> EndCause | None:
    reason = _text(record.get("reason") or "")
    if "cause" not in record:
        return cause_of(Outcome(record["outcome"]), reason)
    if record["cause"] is None:
        return None
    try:  # one that cannot be read, such as one of a later version, must not cost the end itself
        texts = {key: _text(value) if isinstance(value, str) else value for key, value in record["cause"].items()}
        return structure(EndCause, texts)
    except (ValueError, TypeError, AttributeError):
        return EndCause(Cause.UNKNOWN, detail=reason)


_CHANGES: Mapping[str, Callable[[dict[str, Any], Mapping[str, Any]], None]] = {
    "start": _start,
    "report": _report,
    "checkpoint": _checkpoint,
    "memory": _memory,
    "note": _note,
    "end": _end,
}


def _whole(value: Any) -> int:
    """Returns an integer that fits into a database; raises ValueError for any other."""
    number = int(value)
    if abs(number) >= 2**63:
        raise ValueError(f"{number:.3g} is outside the range of a database's integers")
    return number


def _time(value: Any) -> float:
    """Returns seconds since the epoch; raises ValueError for a number that is not finite."""
    number = float(value)
    if not is_finite(number):
        raise ValueError(f"{number} is not a time")
    return number


def _text(value: object) -> str:
    """Returns text that every file and terminal accepts: JSON can contain lone surrogates, UTF-8 cannot."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _text_or_none(value: object) -> str | None:
    return None if value is None else _text(value)


def _float_or_none(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _metrics(values: Mapping[str, object]) -> dict[str, float | str]:
    return {_text(name): _metric(value) for name, value in values.items()}


def _metric(value: object) -> float | str:
    if not isinstance(value, int | float):
        return _text(value)
    number = float(value)
    return number if is_finite(number) else str(number)


def metrics_at(attempts: Sequence[Attempt], names: Sequence[str], step: int | None) -> dict[str, float | str]:
    """Returns the last values of the metrics until `step`, if each of `names` has one; else all their last values.

    A script that does not ask for its last step goes on past it.
    """
    latest = latest_metrics(attempts)
    reports = [report for attempt in attempts for report in attempt.reports]
    if step is None or all(report.step <= step for report in reports):
        return latest
    found: dict[str, float | str] = {}
    for report in reports:
        found.update(report.metrics if report.step <= step else {})
    return found if all(name in found for name in names) else latest
