"""Folds the records of one journal into an Attempt, without any settlement. Pure and incremental.

`fold(fold(a, x), y) == fold(a, x + y)`, so a reader may stop anywhere and continue later. `trial_state` then applies
the planner's settlements to the attempts. Only this lower layer is ever stored, since a journal may grow after its
attempt was settled.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hposlurm.records.decode import structure
from hposlurm.records.old_causes import cause_of
from hposlurm.trial import Attempt, Cause, EndCause, Outcome, Report, is_finite

Metrics = Mapping[str, float | str]


def unread(number: int) -> Attempt:
    """Returns an attempt whose journal is still to be read; wave and index are -1 until its start record is read."""
    return Attempt(number=number, wave=-1, index=-1, job_id="", host="", gpus=0, started_at=0.0)


def fold(
    attempt: Attempt, records: Sequence[Mapping[str, Any]], *, offset: int | None = None, corrupt: int = 0
) -> Attempt:
    """Returns `attempt` with `records` added; counts a malformed record in `corrupt_lines` and ignores unknown kinds.

    `offset` is the end of the records in the journal, `corrupt` the number of lines among them that are not JSON.
    """
    offset = attempt.offset if offset is None else offset
    if not records and offset == attempt.offset:
        return attempt
    state: dict[str, Any] = {
        "offset": offset,
        "started_at": attempt.started_at,
        "reports": {report.step: report for report in attempt.reports},
        "checkpoints": list(attempt.checkpoints),
        "peak_host_gb": attempt.peak_host_gb,
        "peak_gpu_gb": attempt.peak_gpu_gb,
        "corrupt_lines": attempt.corrupt_lines + corrupt,
    }
    for record in records:
        try:
            change = _CHANGES.get(record["kind"])
            if change is not None:
                change(state, record)
                state["started_at"] = state["started_at"] or float(record["t"])
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
            state["corrupt_lines"] += 1
    state["reports"] = tuple(state["reports"].values())
    state["checkpoints"] = tuple(state["checkpoints"])
    return replace(attempt, **state)


def _start(state: dict[str, Any], record: Mapping[str, Any]) -> None:
    state.update(
        wave=int(record["wave"]),
        index=int(record["index"]),
        host=_text(record["host"]),
        job_id=_text(record["job_id"]),
        gpus=int(record["gpus"]),
        started_at=float(record["t"]),
        gpu_ids=_text(record.get("gpu_ids") or ""),
        restart=int(record.get("restart") or 0),
        stage=int(record.get("stage") or 0),
        git_commit=_text_or_none(record.get("git_commit")),
        resumed_from=_text_or_none(record.get("resumed_from")),
        log=_text(record.get("log") or ""),
    )


def _report(state: dict[str, Any], record: Mapping[str, Any]) -> None:
    metrics = _metrics(record["metrics"])
    step, time = int(record["step"]), float(record["t"])
    if abs(step) >= 2**63:
        raise ValueError(f"step {step} is outside the range of a database's integers")
    if not metrics:
        return
    # one step may be reported in pieces: the loss by the trainer, the accuracy by the evaluation after it
    earlier = state["reports"].get(step)
    state["reports"][step] = Report(step, {**earlier.metrics, **metrics} if earlier else metrics, time)
    _memory(state, metrics)  # only the training knows its GPU memory, and a killed worker writes no end record


def _checkpoint(state: dict[str, Any], record: Mapping[str, Any]) -> None:
    state["checkpoints"].append((int(record["step"]), _text(record["path"])))


def _memory(state: dict[str, Any], record: Mapping[str, Any]) -> None:
    for key in ("peak_host_gb", "peak_gpu_gb"):
        value = _float_or_none(record.get(key))
        if value is not None:
            state[key] = value if state[key] is None else max(value, state[key])


def _end(state: dict[str, Any], record: Mapping[str, Any]) -> None:
    exit_code = record.get("exit_code")
    state.update(
        outcome=Outcome(record["outcome"]),
        ended_at=float(record["t"]),
        reason=_text(record.get("reason") or ""),
        exit_code=None if exit_code is None else int(exit_code),
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
    "end": _end,
}


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


def latest_metrics(attempts: Iterable[Attempt]) -> dict[str, float | str]:
    """Returns the last value of each metric over `attempts`, in the order in which the metrics first appeared."""
    latest: dict[str, float | str] = {}
    for attempt in attempts:
        for report in attempt.reports:
            latest.update(report.metrics)
        latest.update(attempt.metrics)
    return latest
