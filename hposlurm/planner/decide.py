"""Plans the next wave from the spec and the history. The same spec, seed and history give the same wave."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from hposlurm.decisions import (
    Choice,
    DecisionMemory,
    WarmStart,
    choose,
    elements_wanted,
    is_refill,
    mode_of,
    pause_after,
    proposed_ahead,
    pruned,
    reason_to_pause,
    tried_since,
)
from hposlurm.records.assignment import Settlement
from hposlurm.records.bad_nodes import bad_nodes, exclusion
from hposlurm.records.failing import paused_for
from hposlurm.records.history import History, with_retries
from hposlurm.records.layout import StudyLayout
from hposlurm.records.plan import WavePlan
from hposlurm.records.scores import score_formulas
from hposlurm.search.rungs import stop_rule
from hposlurm.trial import JobState, Outcome

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec


def next_plan(
    layout: StudyLayout,
    spec: StudySpec,
    history: History,
    settled: Sequence[Settlement],
    *,
    wave_size: int,
    gpus: int,
    now: float,
    still_open: Sequence[int] = (),
    nodes: Callable[[], Sequence[str]] = tuple,
    warm: WarmStart | None = None,
    memory: DecisionMemory | None = None,
) -> WavePlan:
    """Returns the plan of the wave after the history's last; `history` must already contain `settled`.

    Trials that need another attempt (a retry, an interruption) come first, then new ones up to the wave's size. With a
    budget of GPU hours, the trials are limited to those that the rest of the budget pays for, each at its largest cost.
    `gpus` is the number for one element, `still_open` are the waves in flight after which the new wave is queued.
    `nodes` returns the nodes that could run it; it is called only if some nodes look bad. `warm` holds the trials taken
    from other studies; None means those that the study froze. A process that plans many waves keeps `memory`.
    """
    wave = len(history.plans)
    history = with_retries(history, spec.trial.retries)
    finished = _nothing_ever_starts(settled, history)
    most = pause_after(spec, history, wave_size)
    marked = next((c for plan in history.in_flight if (c := paused_for(layout.wave(plan.wave)))), None)
    paused = finished or reason_to_pause(spec, history, most, marked)
    if finished:
        settled, chosen = _as_interrupted(settled), Choice(finished=finished)
    elif paused:
        chosen = Choice(finished=paused)
    else:
        chosen = choose(
            layout,
            spec,
            history,
            wave_size=wave_size,
            gpus=gpus,
            now=now,
            still_open=still_open,
            warm=warm,
            memory=memory,
        )
    refilled = is_refill(spec) and bool(chosen.assignments) and spec.waves.size is None
    elements = None
    if refilled:
        elements = elements_wanted(spec, history, wave_size, len(chosen.assignments), chosen.affordable)
    bad = bad_nodes(history.trials)
    exclude, note = exclusion(bad, nodes()) if bad else ((), "")
    return replace(
        _of_spec(layout, spec, wave, now),
        gpus=gpus,
        pause_after=most,
        pause_since=tried_since(history),
        assignments=chosen.assignments,
        settled=(*settled, *(pruned(history, verdict) for verdict in chosen.verdicts)),
        exclude=exclude,
        exclude_note=note,
        notes=(*_mode_note(spec, wave), *chosen.notes),
        in_flight=tuple(still_open),
        lane=min({*range(len(still_open) + 1)} - {history.plans[index].lane for index in still_open}),
        elements=elements,
        ahead=proposed_ahead(wave_size) if refilled else 0,
        finished=chosen.finished,
        paused=paused is not None,
    )


def _of_spec(layout: StudyLayout, spec: StudySpec, wave: int, now: float) -> WavePlan:
    """Returns a plan without assignments, with what every wave takes from the study file."""
    trial, scored = spec.trial, (name for o in spec.objectives for name in o.reported if name != o.metric)
    return WavePlan(
        wave=wave,
        study=spec.name,
        created_at=now,
        spec=layout.spec(layout.revisions()[-1]).name if layout.revisions() else layout.spec().name,
        seed=spec.search.seed,
        objectives=tuple(o.metric for o in spec.objectives),
        value_rules=tuple(o.rule for o in spec.objectives),
        scores=score_formulas(spec.objectives),
        workdir=trial.workdir or ".",
        cpus=spec.resources.cpus_per_task,
        retries=trial.retries,
        timeout_s=trial.timeout_s,
        stop_signal=trial.stop_signal,
        stop_grace_s=trial.stop_grace_s,
        time_limit_s=spec.resources.time_min * 60.0,
        metric_pattern=trial.metric_pattern,
        sources=tuple(each.source for each in trial.metrics),
        metrics=tuple(dict.fromkeys((*spec.metrics, *scored))),
        command_seed=spec.command_seed,
        memory_warning=trial.memory_warning_pct if trial.memory_guard == "on" else None,
        memory_grace_steps=trial.memory_grace_steps,
        max_resource=spec.search.max_resource,
        stop=stop_rule(spec.search, spec.objectives),
    )


def _mode_note(spec: StudySpec, wave: int) -> list[str]:
    mode = mode_of(spec)
    return [f"waves.mode: {mode.name}, because {mode.why}"] if mode.why and not wave else []


def _nothing_ever_starts(settled: Sequence[Settlement], history: History) -> str | None:
    """Returns a reason to pause if no element of a wave reached its worker: the next wave would end in the same way.

    Returns None if elements of another wave in flight did start: then a bad node, or bad luck in a small wave, is the
    cause.
    """
    lost = [s for s in settled if s.attempt is None and (s.outcome is Outcome.FAIL or s.state is JobState.UNKNOWN)]
    count = Counter(s.wave for s in lost)
    began = {attempt.wave for trial in history.trials for attempt in trial.attempts if attempt.number >= 0}
    for plan in history.in_flight:
        others = {other.wave for other in history.in_flight} - {plan.wave}
        if 0 < min(plan.size, len(plan.assignments)) <= count[plan.wave] and not began & others:
            reason = next(s.reason for s in lost if s.wave == plan.wave)
            return f"paused: no element of wave {plan.wave} reached its worker; {reason}"
    return None


def _as_interrupted(settled: Sequence[Settlement]) -> list[Settlement]:
    """Returns the settlements with failures as interruptions: the trials are not the cause, and `resume` retries."""
    return [replace(s, outcome=Outcome.INTERRUPTED) if s.outcome is Outcome.FAIL else s for s in settled]
