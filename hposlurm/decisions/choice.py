"""Chooses the next assignments: trials that are open again, then what the search wants, within the budget."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hposlurm.decisions.assigned import assigned_trials
from hposlurm.decisions.measured_memory import measured_factor
from hposlurm.decisions.modes import trials_per_wave
from hposlurm.decisions.observe import DecisionMemory
from hposlurm.decisions.walltime import in_order, may_differ, stage_limits, with_limits
from hposlurm.decisions.warm import WarmStart, read_warm_start
from hposlurm.records.assignment import Assignment, Settlement
from hposlurm.records.cause_text import sentence
from hposlurm.records.gc_pause import gc_paused
from hposlurm.records.history import History
from hposlurm.records.layout import StudyLayout
from hposlurm.records.spent import Spent, spent
from hposlurm.render.trial import commands, metric_files
from hposlurm.search import (
    Observation,
    SearchProblem,
    TrainingRequest,
    Verdict,
    derive_seed,
    next_requests,
    requests_per_wave,
)
from hposlurm.search.budget import affordable, is_limited, payable, reason_to_end
from hposlurm.search.memory import SearchMemory
from hposlurm.search.terminator import promises_nothing
from hposlurm.space import signature
from hposlurm.trial import Cause, EndCause, JobState, Outcome, Stage, Trial, TrialState

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec


@dataclass(frozen=True, slots=True)
class Choice:
    """The assignments that come next."""

    assignments: tuple[Assignment, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    #: for people
    notes: tuple[str, ...] = ()
    #: why the study is over; set only if there are no assignments
    finished: str | None = None
    #: how many assignments the budget of GPU hours pays for, these included, if each uses all of its time; None: no
    #: limit
    affordable: int | None = None


@gc_paused()
def choose(
    layout: StudyLayout,
    spec: StudySpec,
    history: History,
    *,
    wave_size: int,
    gpus: int,
    now: float,
    still_open: Collection[int] = (),
    warm: WarmStart | None = None,
    memory: DecisionMemory | None = None,
) -> Choice:
    """Returns the next assignments, at most a wave's size: trials that are open again, then what the search wants.

    A budget of GPU hours limits them to what it pays for if each uses all of its time. Assignments that continue a
    training come before those that begin one, and jobs with the same time limit are adjacent. `gpus` is the number of
    GPUs of one element, `now` is in epoch seconds. `still_open` are the waves in flight with jobs that have not ended:
    the time that they may still use is reserved, and their trials are not assigned. `warm` is what was taken from other
    studies (None: what is frozen), `memory` what is kept between decisions.
    """
    taken = assigned_trials(history, still_open)
    waiting = [t for t in history.trials if t.state is TrialState.WAITING and t.number not in taken]
    # the sum takes time for every attempt, and refill asks for each assignment separately
    so_far = Spent(0, 0.0, 0.0, 0.0, 0)
    if is_limited(spec.budget):
        so_far = spent(history, spec.objectives, now, still_open=still_open, limits=spec.limits)
    memory = memory or DecisionMemory()
    observations = memory.observer.observe(history, spec.objectives)
    own = may_differ(spec, max(trials_per_wave(spec, wave_size), len(waiting)), wave_size)
    least_min = min((minutes for _, minutes in stage_limits(spec)), default=spec.resources.time_min)
    least_gpu_hours = gpus * (least_min if own else spec.resources.time_min) / 60
    over = reason_to_end(spec.budget, so_far, least_gpu_hours, spec.objectives[0])
    over = over or promises_nothing(
        spec.budget.terminator or False, spec.space, spec.objectives, observations, spec.search.seed
    )
    most = 0 if over else affordable(spec.budget, so_far, least_gpu_hours)
    again = [_again(layout, spec, trial) for trial in (waiting if most is None else waiting[:most])]
    problem = problem_of(spec, (warm or read_warm_start(layout)).trials, memory.search, history)
    rung = requests_per_wave(problem, observations) if spec.waves.size is None else None
    size = trials_per_wave(spec, wave_size) if rung is None else rung + len(again)
    wanted = (size if most is None else min(size, most)) - len(again)
    answer = next_requests(problem, observations, max(wanted, 0))
    found = [*again, *_assignments(layout, spec, history, answer.requests)]
    found = with_limits(spec, history, found) if own else found
    whole_s = 60.0 * spec.resources.time_min
    gpu_hours = [gpus * (whole_s if a.time_limit_s is None else a.time_limit_s) / 3600 for a in found]
    count = payable(spec.budget, so_far, gpu_hours)
    if count:
        return Choice(in_order(spec, found[:count]), answer.verdicts, answer.notes, affordable=most)
    if found:
        over = reason_to_end(spec.budget, so_far, gpu_hours[0])
    beyond = next_requests(problem, observations, 1) if over else answer  # what only the budget rules out
    if over and (waiting or beyond.requests):
        left = "1 trial was" if len(waiting) == 1 else f"{len(waiting)} trials were"
        over = f"{over}; {left} left to be tried again" if waiting else over
        return Choice((), answer.verdicts, answer.notes, over)
    return Choice((), answer.verdicts, answer.notes, _why_finished(spec, history, beyond.finished))


def problem_of(
    spec: StudySpec,
    prior: tuple[Observation, ...],
    memory: SearchMemory | None = None,
    history: History | None = None,
) -> SearchProblem:
    """Returns the problem that the search is asked to solve for this study; `prior` are trials of other studies.

    With `history` the estimated memory of configurations is corrected by the peaks that its trials measured.
    """
    kept = memory or SearchMemory()
    factor = 1.0 if history is None else measured_factor(spec, history.trials)
    space, count = spec.space_with(factor), spec.budget.n_trials
    return SearchProblem(space, spec.search, spec.objectives, count, prior, spec.mutable, kept)


def _assignments(
    layout: StudyLayout, spec: StudySpec, history: History, requests: Sequence[TrainingRequest]
) -> list[Assignment]:
    found, number = [], len(history.trials)
    for request in requests:
        if request.trial is None:
            found.append(_new(layout, spec, history, number, request))
            number += 1
        else:
            found.append(_further(layout, spec, history.trial(request.trial), request))
    return found


def _new(layout: StudyLayout, spec: StudySpec, history: History, number: int, request: TrainingRequest) -> Assignment:
    parent = None if request.copy_of is None else history.trial(request.copy_of)
    # a copy keeps its parent's seed: a line of ancestors then equals one run with that seed
    seed = derive_seed(spec.search.seed, "trial", number) if parent is None else parent.seed
    template = spec.command_template
    begin, resumed = commands(layout, template, number, request.params, seed, request.to_step)
    return Assignment(
        trial=number,
        params=request.params,
        signature=signature(request.params),
        seed=seed,
        command=begin,
        command_resumed=resumed,
        metric_files=metric_files(layout, template, number, request.params, seed, request.to_step),
        attrs=request.attrs,
        from_step=request.from_step,
        to_step=request.to_step,
        resume_from=None if parent is None else _newest_checkpoint(layout, parent, request.from_step),
        is_final=request.is_final,
        why=request.why,
    )


def _further(layout: StudyLayout, spec: StudySpec, trial: Trial, request: TrainingRequest) -> Assignment:
    stage = Stage(len(trial.stages), 0, request.from_step, request.to_step, None, request.is_final, request.why)
    return _assign(layout, spec, trial, stage)


def _again(layout: StudyLayout, spec: StudySpec, trial: Trial) -> Assignment:
    return _assign(layout, spec, trial, trial.stages[-1])


def _assign(layout: StudyLayout, spec: StudySpec, trial: Trial, stage: Stage) -> Assignment:
    template, known = spec.command_template, (trial.number, trial.params, trial.seed, stage.to_step)
    begin, resumed = commands(layout, template, *known)
    return Assignment(
        trial=trial.number,
        params=trial.params,
        signature=trial.signature,
        seed=trial.seed,
        command=begin,
        command_resumed=resumed,
        metric_files=metric_files(layout, template, *known),
        attrs=trial.attrs,
        from_step=stage.from_step,
        to_step=stage.to_step,
        resume_from=stage.resume_from,
        stage=stage.number,
        is_final=stage.is_final,
        why=stage.why,
    )


def _newest_checkpoint(layout: StudyLayout, trial: Trial, step: int) -> str | None:
    """Returns the newest checkpoint that the trial reported up to `step`, relative to the study; None if none."""
    saved = [c for attempt in trial.attempts for c in attempt.checkpoints if c[0] <= step]
    if not saved:
        return None
    _, path = max(saved, key=lambda checkpoint: checkpoint[0])
    return str((layout.trial(trial.number).checkpoints / Path(path).name).relative_to(layout.root))


def _why_finished(spec: StudySpec, history: History, exhausted: str | None) -> str:
    done = len(history.trials)
    if exhausted is None and spec.budget.n_trials is not None:
        return f"{done} of {spec.budget.n_trials} trials are done"
    left = "no further configuration meets the constraints" if spec.constraints else exhausted
    return f"{left or 'the search is over'} after {done} trial{'' if done == 1 else 's'}"


def pruned(history: History, verdict: Verdict) -> Settlement:
    """Returns the settlement for the search's verdict on a paused trial; it names the trial's last attempt."""
    last = history.trial(verdict.trial).attempts[-1]
    cause = EndCause(Cause.PRUNED, detail=verdict.reason)
    return Settlement(
        trial=verdict.trial,
        attempt=last.number,
        wave=last.wave,
        job_id=last.job_id,
        state=last.job_state or JobState.UNKNOWN,
        outcome=Outcome.PRUNED,
        reason=sentence(cause),
        cause=cause,
    )
