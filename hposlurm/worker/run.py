"""One element of a wave from the plan to the exit status."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from hposlurm.errors import StudyError
from hposlurm.layout import StudyLayout
from hposlurm.plan import WavePlan
from hposlurm.trial import Assignment, Outcome
from hposlurm.worker import checkpoints, claim, scratch
from hposlurm.worker.attempt import Attempt
from hposlurm.worker.environment import Place
from hposlurm.worker.facts import gather
from hposlurm.worker.inbox import Inbox
from hposlurm.worker.metrics import Pattern
from hposlurm.worker.recorder import Recorder, say

NOTHING_TO_RUN = 2
_EXIT_STATUS = {Outcome.COMPLETE: 0, Outcome.FAIL: 1, Outcome.INTERRUPTED: 3, Outcome.INFEASIBLE: 4}
_NOT_RECORDED = 1


def run(study_dir: Path, wave: int, index: int) -> int:
    """Runs the element; the worker's exit status. Raises StudyError or OSError if no attempt can be started."""
    inbox = Inbox()
    study = StudyLayout(study_dir)
    plan, assignment = claim.find_assignment(study, wave, index)
    pattern = _pattern(plan)
    trial = study.trial(assignment.trial)
    claim.when_there_is_room(lambda: claim.record_trial(trial, wave, assignment))
    done = claim.completed_attempt(trial, assignment.stage)
    if done is not None:
        say(f"trial {assignment.trial} is complete already (attempt {done}): nothing to run")
        return 0
    if reason := claim.hopeless(trial, wave):
        say(f"trial {assignment.trial} is not run again: {reason}")
        return _EXIT_STATUS[Outcome.FAIL]
    node_local = scratch.create(os.environ, trial.root)
    try:
        outcome = _attempt(study, plan, index, pattern, node_local, inbox)
    finally:
        scratch.remove(node_local)
        scratch.sweep(node_local)
    return _NOT_RECORDED if outcome is None else _EXIT_STATUS[outcome]


def _attempt(
    study: StudyLayout, plan: WavePlan, index: int, pattern: Pattern | None, node_local: Path, inbox: Inbox
) -> Outcome | None:
    assignment = plan.assignments[index]
    trial = study.trial(assignment.trial)
    facts = gather(os.environ, plan.gpus, Path(plan.workdir))
    attempt, journal = claim.when_there_is_room(lambda: claim.claim_attempt(trial))
    place = Place(study, plan, assignment, attempt, facts, _resumed_from(study, assignment, attempt), node_local)
    log = claim.open_log(trial, attempt, os.environ.get("HPOSLURM_LOG"))
    recorder = Recorder(journal)
    _record_start(recorder, place, index, log[0])
    return Attempt(place, pattern, log, recorder, inbox, os.environ).run()


def _pattern(plan: WavePlan) -> Pattern | None:
    if plan.metric_pattern is None:
        return None
    try:
        return Pattern(plan.metric_pattern)
    except re.error as error:
        raise StudyError(f"trial.metric_pattern is {plan.metric_pattern!r}, no regular expression: {error}") from error


def _resumed_from(study: StudyLayout, assignment: Assignment, attempt: int) -> str | None:
    """The trial's own newest valid checkpoint, else the assigned one (a relative path: below the study)."""
    trial = study.trial(assignment.trial)
    own = checkpoints.resume(trial.checkpoints, attempt, claim.announced_checkpoints(trial))
    if own is not None or assignment.resume_from is None:
        return None if own is None else str(own)
    path = study.root / assignment.resume_from
    return str(path) if path.exists() else None


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
        pid=os.getpid(),
        log=str(shown),
    )
