"""What the next wave is: a function of the spec and the history. Same spec, same seed, same history → the same wave."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hposlurm.history import History
from hposlurm.layout import StudyLayout
from hposlurm.plan import WavePlan
from hposlurm.render import command
from hposlurm.search import Observation, Suggestion, derive_seed, suggest
from hposlurm.space import signature
from hposlurm.trial import Assignment, Outcome, ParamValue, Settlement, Trial, TrialState

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec

# More than any grid that a study could run; the grid itself says where it ends.
_WHOLE_GRID = 1_000_000


def next_plan(
    layout: StudyLayout,
    spec: StudySpec,
    history: History,
    settled: Sequence[Settlement],
    *,
    wave_size: int,
    now: float,
) -> WavePlan:
    """The plan behind the history's last wave; `history` must have `settled` folded in already.

    Trials that are open again (a retry, an interruption) come first, then new ones up to the wave's size.
    """
    wave = len(history.plans)
    again = [_again(layout, spec, trial) for trial in history.trials if trial.state is TrialState.WAITING]
    new: list[Assignment] = []
    finished = _nothing_ever_starts(settled, history)
    if not finished:
        room = max(0, _size(spec, wave_size) - len(again))
        wanted = room if spec.budget.n_trials is None else min(room, spec.budget.n_trials - len(history.trials))
        found = _suggest(spec, history, wanted) if wanted > 0 else ()
        first = len(history.trials)
        new = [_new(layout, spec, first + i, suggestion) for i, suggestion in enumerate(found)]
        if not again and not new:
            finished = _why_finished(spec, history, exhausted=wanted > 0)
    return WavePlan(
        wave=wave,
        study=spec.name,
        created_at=now,
        spec=layout.spec(layout.revisions()[-1]).name if layout.revisions() else layout.spec().name,
        seed=spec.search.seed,
        objectives=tuple(o.metric for o in spec.objectives),
        workdir=spec.trial.workdir or ".",
        gpus=spec.resources.gpus_per_node * spec.resources.nodes,
        cpus=spec.resources.cpus_per_task,
        retries=spec.trial.retries,
        timeout_s=spec.trial.timeout_s,
        metric_pattern=spec.trial.metric_pattern,
        assignments=() if finished else (*again, *new),
        settled=tuple(settled),
        finished=finished,
    )


def _size(spec: StudySpec, wave_size: int) -> int:
    """Trials per wave: as asked; else all at once where nothing is learned from results, else what can run at once."""
    if spec.waves.size is not None:
        return spec.waves.size
    return _WHOLE_GRID if spec.search.algorithm in ("grid", "random") else wave_size


def _suggest(spec: StudySpec, history: History, n: int) -> tuple[Suggestion, ...]:
    observations = [Observation(t.number, t.params, t.state, t.values, t.attrs) for t in history.trials]
    search = spec.search
    return suggest(spec.space, search.algorithm, spec.objectives, observations, n, search.seed, search.startup_trials)


def _new(layout: StudyLayout, spec: StudySpec, number: int, suggestion: Suggestion) -> Assignment:
    seed = derive_seed(spec.search.seed, "trial", number)
    return Assignment(
        trial=number,
        params=suggestion.params,
        signature=signature(suggestion.params),
        seed=seed,
        command=command(spec.trial.command, suggestion.params, facts(layout, spec, number, seed)),
        attrs=suggestion.attrs,
    )


def _again(layout: StudyLayout, spec: StudySpec, trial: Trial) -> Assignment:
    return Assignment(
        trial=trial.number,
        params=trial.params,
        signature=trial.signature,
        seed=trial.seed,
        command=command(spec.trial.command, trial.params, facts(layout, spec, trial.number, trial.seed)),
        attrs=trial.attrs,
    )


def facts(layout: StudyLayout, spec: StudySpec, number: int, seed: int) -> dict[str, ParamValue]:
    """What a command may mention besides the parameters; `resume_from` and `max_step` are empty where there is none."""
    resources, trial = spec.resources, layout.trial(number)
    found: dict[str, ParamValue] = {
        "gpus": resources.gpus_per_node * resources.nodes,
        "nodes": resources.nodes,
        "gpus_per_node": resources.gpus_per_node,
        "cpus_per_task": resources.cpus_per_task,
        "trial": number,
        "trial_dir": str(trial.root),
        "study_dir": str(layout.root),
        "checkpoint_dir": str(trial.checkpoints),
        "resume_from": "",
        "max_step": "",
        "seed": seed,
    }
    optional = {"mem_gb": resources.mem_gb, "gpu_memory_gb": resources.gpu_memory_gb}
    if spec.trial.deepspeed is not None:
        optional["ds_config"] = str(layout.ds_config)  # type: ignore[assignment]
    return found | {name: value for name, value in optional.items() if value is not None}


def _nothing_ever_starts(settled: Sequence[Settlement], history: History) -> str | None:
    """A reason to stop: when no element of a wave reaches its worker, the next wave would burn the same way."""
    wave = history.plans[-1] if history.plans else None
    lost = [s for s in settled if s.attempt is None and s.outcome is Outcome.FAIL]
    if wave is None or not lost or len(lost) < len(wave.assignments):
        return None
    return f"stopped: no element of wave {wave.wave} reached its worker; {lost[0].reason}"


def _why_finished(spec: StudySpec, history: History, *, exhausted: bool) -> str:
    done = len(history.trials)
    if exhausted or spec.budget.n_trials is None:
        left = "no further configuration meets the constraints" if spec.constraints else "the search space is exhausted"
        return f"{left} after {done} trials"
    return f"{done} of {spec.budget.n_trials} trials are done"
