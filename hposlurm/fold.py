"""Folding: journal records into an Attempt, attempts and settlements into a Trial. Pure and incremental.

Two layers. `fold` gives an attempt as its journal alone tells it; `fold(fold(a, x), y) == fold(a, x + y)`, so a reader
may stop anywhere and go on later. `fold_trial` then lays the planner's settlements over the attempts. Only the lower
layer is ever stored, since a journal may grow after it was settled.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hposlurm.layout import StudyLayout
from hposlurm.retries import no_progress
from hposlurm.trial import Assignment, Attempt, Outcome, Report, Settlement, Trial, TrialState

Metrics = Mapping[str, float | str]

_FAILURES = (Outcome.FAIL, Outcome.DROPPED)
_KILLED = "its process was killed with its job; another attempt followed"


def unread(number: int) -> Attempt:
    """An attempt of whose journal nothing was read yet; wave and index are -1 until its start record is."""
    return Attempt(number=number, wave=-1, index=-1, job_id="", host="", gpus=0, started_at=0.0)


def fold(
    attempt: Attempt, records: Sequence[Mapping[str, Any]], *, offset: int | None = None, corrupt: int = 0
) -> Attempt:
    """`attempt` after `records`; a malformed record is counted in `corrupt_lines`, an unknown kind is left alone.

    `offset` is where in the journal the records end, `corrupt` how many lines among them could not be read at all.
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
        git_commit=_text_or_none(record.get("git_commit")),
        resumed_from=_text_or_none(record.get("resumed_from")),
        log=_text(record.get("log") or ""),
    )


def _report(state: dict[str, Any], record: Mapping[str, Any]) -> None:
    metrics = _metrics(record["metrics"])
    step, time = int(record["step"]), float(record["t"])
    if abs(step) >= 2**63:
        raise ValueError(f"step {step} is out of every database's range")
    if not metrics:
        return
    # one step may be reported in pieces: the loss by the trainer, the accuracy by the evaluation after it
    earlier = state["reports"].get(step)
    state["reports"][step] = Report(step, {**earlier.metrics, **metrics} if earlier else metrics, time)
    _memory(state, metrics)  # the training knows its GPUs best, and a killed worker has no last word


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
        metrics=_metrics(record.get("metrics") or {}),
        tail=tuple(_text(line) for line in record.get("tail") or ()),
    )


_CHANGES: Mapping[str, Callable[[dict[str, Any], Mapping[str, Any]], None]] = {
    "start": _start,
    "report": _report,
    "checkpoint": _checkpoint,
    "memory": _memory,
    "end": _end,
}


def _text(value: object) -> str:
    """Text that every file and terminal can take: JSON can carry half surrogates, UTF-8 cannot."""
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
    return number if math.isfinite(number) else str(number)


def latest_metrics(attempts: Iterable[Attempt]) -> dict[str, float | str]:
    """The last value of each metric over `attempts`, in the order in which the metrics first appeared."""
    latest: dict[str, float | str] = {}
    for attempt in attempts:
        for report in attempt.reports:
            latest.update(report.metrics)
        latest.update(attempt.metrics)
    return latest


def fold_trial(
    assignment: Assignment,
    wave: int,
    journals: Sequence[Attempt],
    settled: Sequence[Sequence[Settlement]],
    objectives: Sequence[str],
    retries: int,
) -> Trial:
    """The trial of `assignment`, first assigned in `wave`, from its journals and each plan's settlements."""
    attempts, values = _judge(bury(settle(journals, settled)), objectives)
    state, pointless = _state(attempts, retries)
    infeasible = next((a for a in attempts if a.outcome is Outcome.INFEASIBLE), None)
    last = attempts[-1] if attempts else None
    if state is TrialState.FAIL and not pointless:
        last = infeasible or next((a for a in reversed(attempts) if a.outcome in _FAILURES), last)
    silent = last is None or state in (TrialState.COMPLETE, TrialState.RUNNING)
    return Trial(
        number=assignment.trial,
        params=assignment.params,
        signature=assignment.signature,
        seed=assignment.seed,
        wave=wave,
        state=state,
        attrs=assignment.attrs,
        values=values,
        reports=_merged_reports(attempts),
        attempts=attempts,
        reason="" if last is None or silent else pointless or _reason(last),
        tail=() if last is None or silent else last.tail,
        infeasible=infeasible is not None and state is TrialState.FAIL,
    )


def settle(journals: Sequence[Attempt], settled: Sequence[Sequence[Settlement]]) -> tuple[Attempt, ...]:
    """`journals` with the settlements of each plan laid over them, in the order in which they ran.

    A later plan's settlement of the same attempt adds to an earlier one. One without an attempt number stands for an
    array element that ended before its worker wrote anything: it becomes an attempt of its own with a *negative*
    number (-1, -2, … as they were settled), so that attempts count right and every journal keeps its number. Its
    `started_at` is 0. The same element twice in one plan ran twice.
    """
    if not settled:
        return tuple(journals)
    attempts = {attempt.number: attempt for attempt in journals}
    wordless: dict[tuple[int, str, int], int] = {}
    for plan in settled:
        runs: Counter[tuple[int, str]] = Counter()
        for settlement in plan:
            number = settlement.attempt
            if number is None:
                element = (settlement.wave, settlement.job_id)
                number = wordless.setdefault((*element, runs[element]), -1 - len(wordless))
                runs[element] += 1
            attempts[number] = _override(attempts.get(number) or _wordless(number, settlement), settlement)
    return _in_order(attempts.values())


def _wordless(number: int, settlement: Settlement) -> Attempt:
    array, _, index = settlement.job_id.rpartition("_")
    wave = StudyLayout(Path()).wave(settlement.wave)
    log = str(wave.element_log(array, int(index))) if array and index.isdigit() else ""
    return replace(
        unread(number),
        wave=settlement.wave,
        job_id=settlement.job_id,
        gpus=settlement.gpus,
        host=settlement.node,
        log=log,
        outcome=Outcome.INTERRUPTED if number < 0 else None,
        reason=f"its job {settlement.job_id} ended {settlement.state} before it started" if number < 0 else "",
    )


def _override(attempt: Attempt, settlement: Settlement) -> Attempt:
    changes: dict[str, Any] = {"job_state": settlement.state}
    if settlement.elapsed_s is not None:
        changes["elapsed_s"] = settlement.elapsed_s
        # an exclusive node gives more than was asked for; accounting that does not count GPUs says 0
        changes["gpus"] = max(attempt.gpus, settlement.gpus)
        if attempt.ended_at is None and attempt.started_at:
            changes["ended_at"] = attempt.started_at + settlement.elapsed_s
    if settlement.outcome is not None:
        changes["outcome"] = settlement.outcome
        changes["reason"] = settlement.reason or f"its job {settlement.job_id} ended {settlement.state}"
    return replace(attempt, **changes)


def _in_order(attempts: Iterable[Attempt]) -> tuple[Attempt, ...]:
    """Journals by number; one without a journal after those of its own wave and before those of the next."""
    ordered = sorted(attempts, key=lambda a: (a.number < 0, abs(a.number)))
    journals = [a for a in ordered if a.number >= 0]
    for attempt in ordered[len(journals) :]:
        position = next((i for i, other in enumerate(journals) if other.wave > attempt.wave), len(journals))
        journals.insert(position, attempt)
    return tuple(journals)


def bury(attempts: tuple[Attempt, ...]) -> tuple[Attempt, ...]:
    """An attempt without an end that was followed by another is dead: interrupted, at the last sign of its life."""
    if all(a.outcome is not None for a in attempts[:-1]):
        return attempts
    return (*(a if a.outcome is not None else _dead(a) for a in attempts[:-1]), attempts[-1])


def _dead(attempt: Attempt) -> Attempt:
    last_sign = max([attempt.started_at, *(report.time for report in attempt.reports)])
    ended_at = attempt.ended_at if attempt.ended_at is not None else last_sign
    return replace(attempt, outcome=Outcome.INTERRUPTED, reason=_KILLED, ended_at=ended_at)


def _judge(
    attempts: tuple[Attempt, ...], objectives: Sequence[str]
) -> tuple[tuple[Attempt, ...], tuple[float, ...] | None]:
    """The attempts and the objectives' values; an attempt cannot be complete without a finite number for each."""
    for position, attempt in enumerate(attempts):
        if attempt.outcome is not Outcome.COMPLETE:
            continue
        latest = latest_metrics(attempts[: position + 1])
        problem = next((p for name in objectives if (p := _problem(latest, name))), "")
        if not problem:
            return attempts, tuple(float(latest[name]) for name in objectives)
        failed = replace(attempt, outcome=Outcome.FAIL, reason=problem)
        return _judge((*attempts[:position], failed, *attempts[position + 1 :]), objectives)
    return attempts, None


def _problem(latest: Metrics, objective: str) -> str:
    value = latest.get(objective)
    if value is None:
        return f"it ended without ever reporting {objective}"
    return f"the last {objective} was {value}, which is no finite number" if isinstance(value, str) else ""


def _state(attempts: Sequence[Attempt], retries: int) -> tuple[TrialState, str]:
    """The trial's state; with FAIL, why another attempt would be pointless, "" if its retries are simply used up."""
    outcomes = [a.outcome for a in attempts]
    if Outcome.COMPLETE in outcomes:
        return TrialState.COMPLETE, ""
    if Outcome.DROPPED in outcomes or Outcome.INFEASIBLE in outcomes:
        return TrialState.FAIL, ""
    if outcomes.count(Outcome.FAIL) > retries:
        return TrialState.FAIL, no_progress(attempts) if retries else ""
    if outcomes and outcomes[-1] is None:
        return TrialState.RUNNING, ""
    pointless = no_progress(attempts)
    return TrialState.FAIL if pointless else TrialState.WAITING, pointless


def _reason(attempt: Attempt) -> str:
    if attempt.reason or attempt.outcome is None:
        return attempt.reason
    status = "" if attempt.exit_code is None else f" with exit status {attempt.exit_code}"
    return f"attempt {attempt.number} ended as {attempt.outcome}{status}"


def _merged_reports(attempts: Sequence[Attempt]) -> tuple[Report, ...]:
    by_step = {report.step: report for attempt in attempts for report in attempt.reports}
    return tuple(by_step[step] for step in sorted(by_step))
