"""Runs one element of a wave, from the plan to the exit status."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from hposlurm.errors import StudyError
from hposlurm.records.assignment import Assignment
from hposlurm.records.cause_text import sentence
from hposlurm.records.journal import end_fields
from hposlurm.records.layout import StudyLayout
from hposlurm.records.ownership import check_own
from hposlurm.records.plan import WavePlan
from hposlurm.trial import Cause, EndCause, Outcome
from hposlurm.worker import binding, checkpoints, claim, scratch
from hposlurm.worker.attempt import AttemptRun
from hposlurm.worker.earlier import Earlier, earlier
from hposlurm.worker.environment import Place
from hposlurm.worker.facts import gather
from hposlurm.worker.handover import hand_over, take_over
from hposlurm.worker.inbox import Inbox
from hposlurm.worker.pruning import past
from hposlurm.worker.recorder import Recorder, say
from hposlurm.worker.refill import Refiller

NOTHING_TO_RUN = 2
_EXIT_STATUS = {
    Outcome.COMPLETE: 0,
    Outcome.PRUNED: 0,
    Outcome.FAIL: 1,
    Outcome.INTERRUPTED: 3,
    Outcome.INFEASIBLE: 4,
}
_NOT_RECORDED = 1
_DRAIN_S = 30.0


def run(study_dir: Path, wave: int, index: int) -> int:
    """Runs the element and returns the exit status.

    Raises StudyError or OSError if no attempt can be started, and RequestError for a study of another user.
    """
    inbox = Inbox()
    check_own(study_dir)
    study = StudyLayout(study_dir)
    found = binding.find_assignment(study, wave, index)
    if found is None:
        return 0
    plan, assignment = found
    _check_pattern(plan)
    trial = study.trial(assignment.trial)
    claim.when_there_is_room(lambda: claim.record_trial(trial, wave, assignment))
    done = claim.completed_attempt(trial, assignment.stage)
    if done is not None:
        say(f"trial {assignment.trial} has ended for good already (attempt {done}): nothing to run")
        return 0
    reason = claim.hopeless(study, assignment.trial, wave)
    if reason is not None:
        say(f"trial {assignment.trial} is not run again: {reason}")
        return _EXIT_STATUS[Outcome.FAIL]
    node_local = scratch.create(os.environ, trial.root)
    try:
        with Refiller(study, plan):
            outcome = _attempt(study, plan, assignment, index, node_local, inbox)
    finally:
        scratch.remove(node_local)
        scratch.sweep(node_local)
    return _NOT_RECORDED if outcome is None else _EXIT_STATUS[outcome]


def _attempt(
    study: StudyLayout,
    plan: WavePlan,
    assignment: Assignment,
    index: int,
    node_local: Path,
    inbox: Inbox,
) -> Outcome | None:
    trial = study.trial(assignment.trial)
    facts = gather(os.environ, plan.gpus, Path(plan.workdir))
    attempt, journal = claim.when_there_is_room(lambda: claim.claim_attempt(trial))
    hand_over(study, plan, assignment.trial, attempt)
    over, resumed_from, before = None, None, Earlier()
    try:
        over = _stopped_before(study, plan, assignment, attempt)
        resumed_from = None if over else _resumed_from(study, assignment, attempt, facts.gpus)
        before = earlier(trial, assignment, attempt, resumed_from)
    except (OSError, StudyError) as error:
        over = Outcome.FAIL, EndCause(Cause.NOT_BEGUN, detail=str(error))
    place = Place(study, plan, assignment, attempt, facts, resumed_from, node_local, before)
    log = claim.open_log(trial, attempt, os.environ.get("HPOSLURM_LOG"))
    recorder = Recorder(journal)
    _record_start(recorder, place, index, log[0])
    if over is not None:
        outcome, cause = over
        say(f"trial {assignment.trial}, attempt {attempt}: {sentence(cause)}")
        recorder.add("end", **end_fields(outcome, cause))
        return outcome if recorder.drain(_DRAIN_S) else None
    return AttemptRun(place, log, recorder, inbox, os.environ).run()


def _check_pattern(plan: WavePlan) -> None:
    """Raises StudyError if the plan's pattern is not a regular expression."""
    try:
        re.compile(plan.metric_pattern or "")
    except re.error as error:
        raise StudyError(
            f"trial.metric_pattern is {plan.metric_pattern!r}, not a regular expression: {error}"
        ) from error


def _stopped_before(
    study: StudyLayout, plan: WavePlan, assignment: Assignment, attempt: int
) -> tuple[Outcome, EndCause] | None:
    """Returns an earlier attempt's decision to stop the trial, if its job died before the training did; else None.

    Raises OSError where it cannot be read.
    """
    if plan.stop is None:
        return None
    decision = past(plan.stop, study.trial(assignment.trial), attempt).stopped
    return None if decision is None else (Outcome.PRUNED, EndCause(Cause.PRUNED, detail=decision.reason))


def _resumed_from(study: StudyLayout, assignment: Assignment, attempt: int, gpus: int) -> str | None:
    """Returns the trial's own newest valid checkpoint, else its copy of the assigned one; None if there is neither.

    Raises StudyError or OSError if a copy of another trial has none: started from scratch it would be another trial.
    """
    trial = study.trial(assignment.trial)
    own = checkpoints.resume(trial.checkpoints, attempt, claim.announced_checkpoints(trial), gpus)
    newest = own or take_over(study, assignment, attempt)
    parent = assignment.attrs.get("parent")
    if newest is None and parent is not None:
        raise StudyError(
            f"it goes on from trial {parent} at step {assignment.from_step}, and there is no checkpoint to begin with: "
            "the training has to report one wherever it ends"
        )
    return None if newest is None else str(newest)


def _copied_from(place: Place) -> str | None:
    """Returns the other trial's checkpoint of which this attempt begins with a copy."""
    assigned, used = place.assignment.resume_from, place.resumed_from
    return assigned if assigned and used and Path(assigned).name == Path(used).name else None


def _record_start(recorder: Recorder, place: Place, index: int, log: Path) -> None:
    shown = log
    with contextlib.suppress(ValueError):
        shown = log.relative_to(place.study.root)
    facts = place.facts
    recorder.add(
        "start",
        trial=place.assignment.trial,
        attempt=place.attempt,
        wave=place.plan.wave,
        index=index,
        host=facts.host,
        job_id=facts.job_id,
        restart=facts.restart,
        stage=place.assignment.stage,
        gpus=facts.gpus,
        gpu_ids=facts.gpu_ids,
        git_commit=facts.git_commit,
        resumed_from=place.resumed_from,
        copied_from=_copied_from(place),
        pid=os.getpid(),
        log=str(shown),
    )
