"""The life of a study around its waves: create, preview, cancel, resume."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hposlurm.backend import Backend, Capacity, Script
from hposlurm.decisions import WarmStart, freeze, gather
from hposlurm.decisions.cost import Cost, study_cost
from hposlurm.errors import BackendError, LimitError, NotNowError, RequestError
from hposlurm.planner import chain, submission
from hposlurm.planner.clock import CLOCK, Clock
from hposlurm.planner.decide import next_plan
from hposlurm.planner.settle import element_ids
from hposlurm.records.fail_points import fail_point
from hposlurm.records.files import create_once, to_json
from hposlurm.records.history import History, read_history
from hposlurm.records.jobs import WaveJobs
from hposlurm.records.layout import StudyLayout
from hposlurm.records.plan import WavePlan, bound, read_plan
from hposlurm.render.deepspeed import ds_config

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec

NOTHING_TAKEN = WarmStart()


def create(layout: StudyLayout, spec: StudySpec, warm: WarmStart = NOTHING_TAKEN) -> bool:
    """Creates the study's directory (mode 0700) with its frozen spec; False if it is there with the same spec.

    `warm` is what was taken from other studies. Raises RequestError if something else is in the way, or the place
    cannot be written to.
    """
    from hposlurm.spec import dump

    text = dump(spec)
    if layout.root.exists() or layout.root.is_symlink():
        return _check_existing(layout, spec)
    try:
        layout.root.parent.mkdir(parents=True, exist_ok=True)
        layout.root.mkdir(mode=0o700)
    except OSError as error:
        raise RequestError(f"cannot create {layout.root}: {error.strerror} ({error.filename})") from error
    if spec.trial.deepspeed is not None:
        chosen = spec.trial.deepspeed
        create_once(layout.ds_config, to_json(ds_config(chosen.zero_stage, chosen.offload)))
    freeze(layout, warm)
    create_once(layout.spec(), text.encode())  # last: a directory with a study.yaml is a study
    return True


def _check_existing(layout: StudyLayout, spec: StudySpec) -> bool:
    from hposlurm.spec import load

    if not layout.root.is_dir():
        raise RequestError(
            f"{layout.root} is a file; the study's directory would have to be there (name another: --set name=…)"
        )
    if not layout.spec().exists():
        raise RequestError(f"{layout.root} exists and is no study; name the study differently: --set name=…")
    known = load(layout.spec(), frozen=True)
    differing = [name for name in type(spec).model_fields if getattr(spec, name) != getattr(known, name)]
    if differing:
        raise RequestError(
            f"{layout.root} holds a study with another spec (it differs in {', '.join(differing)}); "
            "name the new one differently (--set name=…), or change the old one with `hposlurm resume --set`"
        )
    return False


def discard(layout: StudyLayout, error: Exception) -> bool:
    """Removes a study that this process created and of which, after `error`, no job can be left; False if one can.

    A refusal leaves no array behind (Backend.submit). After anything else a job may wait, held, that only the token in
    intent.json finds again.
    """
    waves = [layout.wave(index) for index in layout.waves()]
    is_answer = isinstance(error, LimitError) or not isinstance(error, NotNowError)
    is_refusal = isinstance(error, BackendError) and is_answer
    if any(wave.jobs.exists() for wave in waves) or (any(w.intent.exists() for w in waves) and not is_refusal):
        return False
    shutil.rmtree(layout.root, ignore_errors=True)
    return True


@dataclass(frozen=True, slots=True)
class Preview:
    """What `launch` would do first: the plan of wave 0 and the scripts, exactly; and what the study may cost.

    `warm` is what is taken from other studies.
    """

    plan: WavePlan
    scripts: tuple[Script, ...]
    cost: Cost
    warm: WarmStart = NOTHING_TAKEN


def preview(layout: StudyLayout, spec: StudySpec, capacity: Capacity, clock: Clock = CLOCK) -> Preview:
    """Plans and renders wave 0 without writing or asking anything."""
    size, gpus = capacity.wave_size(spec), capacity.gpus(spec)
    warm = gather(layout, spec)
    plan = next_plan(layout, spec, History(), (), wave_size=size, gpus=gpus, now=clock.now(), warm=warm)
    request = replace(submission.request_for(layout, spec, plan, "TOKEN"), is_late=chain.is_used(spec, capacity))
    cost = study_cost(spec, plan, wave_size=size, gpus=gpus)
    return Preview(plan, tuple(capacity.scripts(request)) if plan.assignments else (), cost, warm)


def cancel(layout: StudyLayout, backend: Backend, trials: Sequence[int] = ()) -> str:
    """Cancels the study for good, or only some of its trials; says what was cancelled.

    STOP is written before any job is cancelled: a planner's `afterany` fires after scancel as well.
    """
    history = read_history(layout)
    if trials:
        return _cancel_trials(layout, backend, history, trials)
    if is_over := over(history):
        return is_over
    create_once(layout.stop, b"")
    fail_point("stop written")
    if not _submitted(layout, history):
        return "nothing was submitted; no wave will be"
    backend.cancel(_planners(layout, history))
    fail_point("planner cancelled")
    before, history = history, read_history(layout)
    if len(history.plans) != len(before.plans):  # a planner was in the middle of submitting the next wave
        backend.cancel(_planners(layout, history))
    submitted = _submitted(layout, history)
    later = chain.later_jobs(layout, history.plans[-1].wave)
    arrays = [array.job_id for jobs in (*(jobs for _, jobs in submitted), *later) for array in jobs.arrays]
    backend.cancel(arrays)
    fail_point("arrays cancelled")
    said = []
    for wave, jobs in submitted:
        names = ", ".join(array.job_id for array in jobs.arrays)
        said.append(f"wave {wave} (jobs {names}{f', planner {jobs.planner}' if jobs.planner else ''})")
    return f"{', '.join(said)}; no further wave will be submitted"


def over(history: History) -> str:
    """Returns why there is nothing to cancel in a study that is over; "" of one that is not."""
    return f"nothing: the study is over already ({history.finished})" if history.finished else ""


def _submitted(layout: StudyLayout, history: History) -> list[tuple[int, WaveJobs]]:
    """The jobs of the waves in flight, oldest first."""
    found = ((plan.wave, submission.submitted_jobs(layout.wave(plan.wave))) for plan in history.in_flight)
    return [(wave, jobs) for wave, jobs in found if jobs is not None]


def _planners(layout: StudyLayout, history: History) -> list[str]:
    """The planners of the waves in flight and of what was submitted behind them."""
    later = chain.later_jobs(layout, history.plans[-1].wave)
    return [jobs.planner for jobs in (*(jobs for _, jobs in _submitted(layout, history)), *later) if jobs.planner]


def _cancel_trials(layout: StudyLayout, backend: Backend, history: History, trials: Sequence[int]) -> str:
    running: dict[int, str] = {}
    for plan in history.in_flight:
        jobs = submission.submitted_jobs(layout.wave(plan.wave))
        ids = element_ids(plan, jobs.arrays) if jobs else []
        runs = bound(layout.wave(plan.wave), plan)
        running |= {a.trial: ids[index] for index, a in sorted(runs.items()) if index < len(ids) and ids[index]}
    unborn = [n for n in trials if backend.is_foreground and n in running and not history.trial(n).attempts]
    if unborn:
        raise RequestError(f"trial {unborn[0]} has not started; on this machine only a running trial can be taken out")
    absent = [n for n in trials if n not in running or history.trial(n).state.is_finished]
    if absent:
        going = sorted(n for n in running if not history.trial(n).state.is_finished)
        raise RequestError(
            f"trial {absent[0]} is not running or waiting; these are: {', '.join(map(str, going)) or 'none'}"
        )
    backend.cancel([running[n] for n in trials])
    return ", ".join(f"trial {n} (job {running[n]})" for n in trials) + "; the study goes on"


def lift_stop(layout: StudyLayout) -> None:
    """Makes a cancelled study ready to go on: what was cancelled with it will be tried again."""
    if layout.stop.exists():
        for last in layout.waves()[-1:]:
            for index in (*read_plan(layout.wave(last)).in_flight, last):
                create_once(layout.wave(index).cancelled, b"")
        fail_point("cancel marked")
        layout.stop.unlink(missing_ok=True)
