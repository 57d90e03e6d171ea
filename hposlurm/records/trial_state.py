"""Computes a trial from its assignments, its attempts and the planner's settlements of them. Pure.

A trial is trained in stages: each assignment trains it from one step to another. After a stage that is not the final
one the trial is PAUSED, until the search continues it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hposlurm.records.assignment import Assignment, Settlement
from hposlurm.records.cause_text import no_progress_text, sentence, without_cause
from hposlurm.records.fold import Metrics, metrics_at, unread
from hposlurm.records.layout import StudyLayout
from hposlurm.records.retries import ended_by, no_progress, repeated_failure
from hposlurm.records.retry_orders import NO_ATTEMPTS
from hposlurm.records.values import counted_values
from hposlurm.trial import (
    DONE,
    Attempt,
    Cause,
    EndCause,
    Outcome,
    Report,
    Stage,
    Trial,
    TrialState,
    ValueRule,
    is_finite,
)

# The outcomes of a settlement that a later end record of the attempt itself replaces
_OUTDATED = (Outcome.INTERRUPTED, Outcome.FAIL, Outcome.INFEASIBLE)
_FAILURES = (Outcome.FAIL, Outcome.DROPPED)
_KILLED = EndCause(Cause.REPLACED)


def fold_trial(
    assigned: Sequence[tuple[int, Assignment]],
    journals: Sequence[Attempt],
    settled: Sequence[Sequence[Settlement]],
    objectives: Sequence[str],
    retries: int,
    max_resource: int | None = None,
    rules: Sequence[ValueRule] = (),
    excused: Collection[int] = NO_ATTEMPTS,
) -> Trial:
    """Returns a trial, computed from its assignments, its journals and the settlements of each plan.

    `assigned` has each assignment with its wave, in the order of waves, and at least one entry. A trial that was
    trained to `max_resource` is complete, although less was assigned: nothing is left to train. `rules` says which
    value of each objective counts; (): the last one. `excused` are the numbers of attempts that a person's order to
    run the trial again leaves behind.
    """
    stages = _stages(assigned)
    everything = bury(_with_stages(with_settled(journals, settled), stages))
    attempts, values, is_done = _judge(everything, stages, objectives, max_resource, rules)
    counted = [a for a in attempts if a.number not in excused or a.outcome in DONE]
    state, pointless = (TrialState.COMPLETE, None) if is_done else _state(counted, stages, retries)
    why = "" if pointless is None else no_progress_text(pointless, counted)
    infeasible = next((a for a in counted if a.outcome is Outcome.INFEASIBLE), None)
    last = attempts[-1] if attempts else None
    if state is TrialState.FAIL and pointless is None:
        last = infeasible or next((a for a in reversed(counted) if a.outcome in _FAILURES), last)
    silent = last is None or state in (TrialState.COMPLETE, TrialState.PAUSED, TrialState.RUNNING)
    wave, first = assigned[0]
    return Trial(
        number=first.trial,
        params=first.params,
        signature=first.signature,
        seed=first.seed,
        wave=wave,
        state=state,
        attrs=first.attrs,
        values=values if state in (TrialState.COMPLETE, TrialState.PAUSED, TrialState.PRUNED) else None,
        reports=_merged_reports(attempts),
        attempts=attempts,
        stages=stages,
        reason="" if last is None or silent else why or _reason(last),
        tail=() if last is None or silent else last.tail,
        infeasible=infeasible is not None and state is TrialState.FAIL,
    )


def _stages(assigned: Sequence[tuple[int, Assignment]]) -> tuple[Stage, ...]:
    """Returns one entry per stage, in order; an assignment that retries a stage changes nothing."""
    found: dict[int, Stage] = {}
    for wave, a in assigned:
        found.setdefault(a.stage, Stage(a.stage, wave, a.from_step, a.to_step, a.resume_from, a.is_final, a.why))
    return tuple(found[number] for number in sorted(found))


def _with_stages(attempts: tuple[Attempt, ...], stages: Sequence[Stage]) -> tuple[Attempt, ...]:
    """Returns the attempts; those without a start record get the stage that their wave ran."""
    if len(stages) == 1 or all(a.started_at for a in attempts):
        return attempts
    return tuple(a if a.started_at else replace(a, stage=_stage_in(a.wave, stages)) for a in attempts)


def _stage_in(wave: int, stages: Sequence[Stage]) -> int:
    return max((stage.number for stage in stages if stage.wave <= wave), default=stages[0].number)


def with_settled(journals: Sequence[Attempt], settled: Sequence[Sequence[Settlement]]) -> tuple[Attempt, ...]:
    """Returns `journals` with the settlements of each plan applied to them, in the order in which they ran.

    A later plan's settlement of the same attempt adds to an earlier one. A settlement without an attempt number stands
    for an array element that ended before its worker wrote anything. It becomes a separate attempt with a *negative*
    number (-1, -2, … in the order of settlement), so that attempts are counted correctly and every journal keeps its
    number. Its `started_at` is 0. The same element twice in one plan ran twice.
    """
    if not settled:
        return tuple(journals)
    attempts = {attempt.number: attempt for attempt in journals}
    numbers: dict[tuple[int, str, int], int] = {}
    for plan in settled:
        runs: Counter[tuple[int, str]] = Counter()
        for settlement in plan:
            number = settlement.attempt
            if number is None:
                element = (settlement.wave, settlement.job_id)
                number = numbers.setdefault((*element, runs[element]), -1 - len(numbers))
                runs[element] += 1
            attempts[number] = _override(attempts.get(number) or _without_journal(number, settlement), settlement)
    return _in_order(attempts.values())


def _without_journal(number: int, settlement: Settlement) -> Attempt:
    array, _, index = settlement.job_id.rpartition("_")
    wave = StudyLayout(Path()).wave(settlement.wave)
    log = str(wave.element_log(array, int(index))) if array and index.isdigit() else ""
    ended = EndCause(Cause.WORKER_NOT_STARTED, job_state=settlement.state, job_id=settlement.job_id)
    cause = ended if number < 0 else None
    return replace(
        unread(number),
        wave=settlement.wave,
        job_id=settlement.job_id,
        gpus=settlement.gpus,
        host=settlement.node,
        log=log,
        outcome=Outcome.INTERRUPTED if number < 0 else None,
        cause=cause,
        reason=sentence(cause),
    )


def _override(attempt: Attempt, settlement: Settlement) -> Attempt:
    changes: dict[str, Any] = {"job_state": settlement.state}
    if settlement.elapsed_s is not None:
        changes["elapsed_s"] = settlement.elapsed_s
        # an exclusive node gives more than was asked for; accounting that does not count GPUs says 0
        changes["gpus"] = max(attempt.gpus, settlement.gpus)
        if attempt.ended_at is None and attempt.started_at:
            changes["ended_at"] = attempt.started_at + settlement.elapsed_s
    # its own end record may be newer than the settlement: a node was only thought lost, a process outlived its driver
    is_outdated = attempt.outcome in DONE and settlement.outcome in _OUTDATED
    if settlement.outcome is not None and not is_outdated:
        changes["outcome"] = settlement.outcome
        changes["cause"] = settlement.cause or _job_ended(settlement)
        changes["reason"] = settlement.reason or sentence(_job_ended(settlement))
    return replace(attempt, **changes)


def _job_ended(settlement: Settlement) -> EndCause:
    return EndCause(Cause.JOB_ENDED, job_state=settlement.state, job_id=settlement.job_id)


def _in_order(attempts: Iterable[Attempt]) -> tuple[Attempt, ...]:
    """Returns attempts by number; one without a journal comes after all those of its own wave."""
    ordered = sorted(attempts, key=lambda a: (a.number < 0, abs(a.number)))
    journals = [a for a in ordered if a.number >= 0]
    for attempt in ordered[len(journals) :]:
        position = next((i for i, other in enumerate(journals) if other.wave > attempt.wave), len(journals))
        journals.insert(position, attempt)
    return tuple(journals)


def bury(attempts: tuple[Attempt, ...]) -> tuple[Attempt, ...]:
    """Returns `attempts` with an end for each attempt that another one followed: interrupted, at its last record."""
    if all(a.outcome is not None for a in attempts[:-1]):
        return attempts
    return (*(a if a.outcome is not None else _dead(a) for a in attempts[:-1]), attempts[-1])


def _dead(attempt: Attempt) -> Attempt:
    last_record = max([attempt.started_at, *(report.time for report in attempt.reports)])
    ended_at = attempt.ended_at if attempt.ended_at is not None else last_record
    return replace(attempt, outcome=Outcome.INTERRUPTED, cause=_KILLED, reason=sentence(_KILLED), ended_at=ended_at)


def _judge(
    attempts: tuple[Attempt, ...],
    stages: Sequence[Stage],
    objectives: Sequence[str],
    max_resource: int | None,
    rules: Sequence[ValueRule],
) -> tuple[tuple[Attempt, ...], tuple[float, ...] | None, bool]:
    """Returns the attempts, the values of the objectives, and True if one attempt has completed the trial.

    The values are those at the end of the last completed stage, or where the trial was pruned. An attempt cannot be
    complete without a finite number for each objective. Once an attempt has completed the trial, no later one counts.
    """
    by_number = {stage.number: stage for stage in stages}
    judged: list[Attempt] = []
    values: tuple[float, ...] | None = None
    is_done = False
    for position, attempt in enumerate(attempts):
        if is_done or attempt.outcome not in DONE:
            judged.append(attempt)
            continue
        until_then, stage = attempts[: position + 1], by_number.get(attempt.stage)
        is_end = stage is None or stage.is_final or _reaches(until_then, objectives, max_resource)
        step = None if stage is None or is_end or attempt.outcome is Outcome.PRUNED else stage.to_step
        latest = metrics_at(until_then, objectives, step)
        problem = next((p for name in objectives if (p := _problem(latest, name))), None)
        if problem is None:
            values = counted_values(until_then, objectives, rules, step)
            is_done = attempt.outcome is Outcome.COMPLETE and stage is not None and is_end
        elif attempt.outcome is Outcome.COMPLETE:
            attempt = replace(attempt, outcome=Outcome.FAIL, cause=problem, reason=sentence(problem))
        judged.append(attempt)
    return tuple(judged), values, is_done


def _reaches(attempts: Sequence[Attempt], objectives: Sequence[str], max_resource: int | None) -> bool:
    """True if every objective was reported at `max_resource` or later."""
    if max_resource is None:
        return False
    names = {n for a in attempts for report in a.reports if report.step >= max_resource for n in report.metrics}
    return names.issuperset(objectives)


def _problem(latest: Metrics, objective: str) -> EndCause | None:
    value = latest.get(objective)
    if value is None:
        return EndCause(Cause.METRIC_MISSING, metric=objective)
    return None if is_finite(value) else EndCause(Cause.METRIC_NOT_FINITE, metric=objective, value=str(value))


def _state(attempts: Sequence[Attempt], stages: Sequence[Stage], retries: int) -> tuple[TrialState, EndCause | None]:
    """Returns the state of a trial that no attempt has completed.

    With FAIL, also why another attempt is pointless (None if its retries are used up).
    """
    everything = [a.outcome for a in attempts]
    if Outcome.PRUNED in everything:
        return TrialState.PRUNED, None
    if Outcome.DROPPED in everything or Outcome.INFEASIBLE in everything:
        return TrialState.FAIL, None
    if any(a.outcome is Outcome.FAIL and ended_by(a, Cause.WRONG_ARGUMENT) for a in attempts):
        return TrialState.FAIL, None
    attempts = [a for a in attempts if a.stage == stages[-1].number]
    outcomes = [a.outcome for a in attempts]
    if Outcome.COMPLETE in outcomes:
        return TrialState.PAUSED, None
    if outcomes.count(Outcome.FAIL) > retries:
        return TrialState.FAIL, (no_progress(attempts) or repeated_failure(attempts)) if retries else None
    if outcomes and outcomes[-1] is None:
        return TrialState.RUNNING, None
    pointless = no_progress(attempts)
    return TrialState.FAIL if pointless is not None else TrialState.WAITING, pointless


def _reason(attempt: Attempt) -> str:
    return attempt.reason if attempt.reason or attempt.outcome is None else without_cause(attempt)


def _merged_reports(attempts: Sequence[Attempt]) -> tuple[Report, ...]:
    by_step = {report.step: report for attempt in attempts for report in attempt.reports}
    return tuple(by_step[step] for step in sorted(by_step))
