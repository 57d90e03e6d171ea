"""What the next wave is: a function of the spec and the history. Same spec, same seed, same history → the same wave."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from hposlurm.history import History
from hposlurm.layout import StudyLayout
from hposlurm.nodes import bad_nodes, exclusion
from hposlurm.plan import WavePlan
from hposlurm.search import Observation, Suggestion, derive_seed, suggest
from hposlurm.search.budget import affordable, reason_to_end, spent
from hposlurm.space import signature
from hposlurm.spec.facts import commands
from hposlurm.trial import Assignment, JobState, Outcome, Settlement, Trial, TrialState

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec

# More trials than a study could run: a grid says itself where it ends.
_MANY = 1_000_000


def next_plan(
    layout: StudyLayout,
    spec: StudySpec,
    history: History,
    settled: Sequence[Settlement],
    *,
    wave_size: int,
    gpus: int,
    now: float,
    nodes: Callable[[], Sequence[str]] = tuple,
) -> WavePlan:
    """The plan behind the history's last wave; `history` must have `settled` folded in already.

    Trials that are open again (a retry, an interruption) come first, then new ones up to the wave's size; with a budget
    of GPU hours no more than what is left pays for, each with all that it may use. `gpus` is what one element is given.
    `nodes` tells which nodes could run it; it is asked only where some of them look bad.
    """
    wave = len(history.plans)
    finished = _nothing_ever_starts(settled, history)
    chosen: tuple[Assignment, ...] = ()
    if finished:
        settled = _held_open(settled)
    else:
        chosen, finished = _choose(layout, spec, history, wave_size, gpus, now)
    bad = bad_nodes(history.trials)
    exclude, note = exclusion(bad, nodes()) if bad else ((), "")
    return WavePlan(
        wave=wave,
        study=spec.name,
        created_at=now,
        spec=layout.spec(layout.revisions()[-1]).name if layout.revisions() else layout.spec().name,
        seed=spec.search.seed,
        objectives=tuple(o.metric for o in spec.objectives),
        workdir=spec.trial.workdir or ".",
        gpus=gpus,
        cpus=spec.resources.cpus_per_task,
        retries=spec.trial.retries,
        timeout_s=spec.trial.timeout_s,
        time_limit_s=spec.resources.time_min * 60.0,
        metric_pattern=spec.trial.metric_pattern,
        memory_warning=spec.trial.memory_warning_pct if spec.trial.memory_guard == "on" else None,
        memory_grace_steps=spec.trial.memory_grace_steps,
        assignments=chosen,
        settled=tuple(settled),
        exclude=exclude,
        exclude_note=note,
        finished=finished,
    )


def _choose(
    layout: StudyLayout, spec: StudySpec, history: History, wave_size: int, gpus: int, now: float
) -> tuple[tuple[Assignment, ...], str | None]:
    """The next wave's assignments, or none and the reason why the study is over."""
    waiting = [trial for trial in history.trials if trial.state is TrialState.WAITING]
    so_far = spent(history, spec.objectives, now, wave_is_over=True)
    element_gpu_hours = gpus * spec.resources.time_min / 60
    over = reason_to_end(spec.budget, so_far, element_gpu_hours)
    most = 0 if over else affordable(spec.budget, so_far, element_gpu_hours)
    again = [_again(layout, spec, trial) for trial in (waiting if most is None else waiting[:most])]
    size = trials_per_wave(spec, wave_size)
    trials_left = _MANY if spec.budget.n_trials is None else spec.budget.n_trials - len(history.trials)
    wanted = min((size if most is None else min(size, most)) - len(again), trials_left)
    found = _suggest(spec, history, wanted) if wanted > 0 else ()
    first = len(history.trials)
    new = [_new(layout, spec, first + i, suggestion) for i, suggestion in enumerate(found)]
    if again or new:
        return (*again, *new), None
    if over and (waiting or (trials_left > 0 and _suggest(spec, history, 1))):
        count = "1 trial was" if len(waiting) == 1 else f"{len(waiting)} trials were"
        return (), f"{over}; {count} left to be tried again" if waiting else over
    return (), _why_finished(spec, history, exhausted=trials_left > 0)


def trials_per_wave(spec: StudySpec, wave_size: int) -> int:
    """As asked; else all at once where no result changes what comes next, else what can run at once."""
    if spec.waves.size is not None:
        return spec.waves.size
    budget, algorithm = spec.budget, spec.search.algorithm
    is_known = algorithm == "grid" or (algorithm == "random" and budget.n_trials is not None)
    return _MANY if is_known and budget.wall_time_min is None and budget.patience is None else wave_size


def _suggest(spec: StudySpec, history: History, n: int) -> tuple[Suggestion, ...]:
    trials = history.trials
    observations = [Observation(t.number, t.params, t.state, t.values, t.attrs, t.infeasible) for t in trials]
    search = spec.search
    return suggest(spec.space, search.algorithm, spec.objectives, observations, n, search.seed, search.startup_trials)


def _new(layout: StudyLayout, spec: StudySpec, number: int, suggestion: Suggestion) -> Assignment:
    seed = derive_seed(spec.search.seed, "trial", number)
    begin, resumed = commands(layout, spec, number, suggestion.params, seed)
    return Assignment(
        trial=number,
        params=suggestion.params,
        signature=signature(suggestion.params),
        seed=seed,
        command=begin,
        command_resumed=resumed,
        attrs=suggestion.attrs,
    )


def _again(layout: StudyLayout, spec: StudySpec, trial: Trial) -> Assignment:
    begin, resumed = commands(layout, spec, trial.number, trial.params, trial.seed)
    return Assignment(
        trial=trial.number,
        params=trial.params,
        signature=trial.signature,
        seed=trial.seed,
        command=begin,
        command_resumed=resumed,
        attrs=trial.attrs,
    )


def _nothing_ever_starts(settled: Sequence[Settlement], history: History) -> str | None:
    """A reason to stop: when no element of a wave reaches its worker, the next wave would burn the same way."""
    wave = history.plans[-1] if history.plans else None
    lost = [s for s in settled if s.attempt is None and (s.outcome is Outcome.FAIL or s.state is JobState.UNKNOWN)]
    if wave is None or not lost or len(lost) < len(wave.assignments):
        return None
    return f"stopped: no element of wave {wave.wave} reached its worker; {lost[0].reason}"


def _held_open(settled: Sequence[Settlement]) -> list[Settlement]:
    """Where the study stops because nothing starts, it was not the trials' fault: `resume` tries them again."""
    return [replace(s, outcome=Outcome.INTERRUPTED) if s.outcome is Outcome.FAIL else s for s in settled]


def _why_finished(spec: StudySpec, history: History, *, exhausted: bool) -> str:
    done = len(history.trials)
    if exhausted or spec.budget.n_trials is None:
        left = "no further configuration meets the constraints" if spec.constraints else "the search space is exhausted"
        return f"{left} after {done} trial{'' if done == 1 else 's'}"
    return f"{done} of {spec.budget.n_trials} trials are done"
