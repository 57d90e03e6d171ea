"""Creates, previews, cancels and resumes a study."""

from __future__ import annotations

import os
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hposlurm.backend import Backend, Capacity, Script
from hposlurm.decisions import WarmStart, freeze, gather
from hposlurm.decisions.cost import Cost, study_cost
from hposlurm.errors import BackendError, LimitError, NotNowError, RequestError
from hposlurm.planner import chain, submission
from hposlurm.planner.claim import token_of
from hposlurm.planner.decide import next_plan
from hposlurm.planner.revise import differences
from hposlurm.planner.settle import element_ids
from hposlurm.records.clock import CLOCK, Clock
from hposlurm.records.fail_points import fail_point
from hposlurm.records.files import create_once, to_json
from hposlurm.records.history import History, read_history
from hposlurm.records.jobs import WaveJobs
from hposlurm.records.layout import StudyLayout
from hposlurm.records.permissions import make_study_directory
from hposlurm.records.plan import WavePlan, bound, read_plan
from hposlurm.records.trees import remove_tree
from hposlurm.render.deepspeed import ds_config

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec

NOTHING_TAKEN = WarmStart()
# How many differences an error shows
_SHOWN = 5


def create(layout: StudyLayout, spec: StudySpec, warm: WarmStart = NOTHING_TAKEN) -> bool:
    """Creates the study's directory with its frozen spec; False if it exists with the same spec.

    `warm` holds the trials taken from other studies. Raises RequestError if the path is used by something else, or is
    not writable.
    """
    if _is_taken(layout):
        return _check_existing(layout, spec)
    root = layout.root
    new = StudyLayout(root.with_name(f".{root.name}.{uuid.uuid4().hex[:8]}.new"))
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        make_study_directory(new.root, is_for_group=spec.share == "group")
    except OSError as error:
        raise RequestError(f"cannot create {root}: {error.strerror} ({error.filename})") from error
    try:
        _fill(new, spec, warm)
        fail_point("study filled")
        new.root.rename(root)  # whole, and of several launches at once only one succeeds
    except OSError as error:
        if not _is_taken(layout):
            raise RequestError(f"cannot create {root}: {error.strerror or error}") from error
        return _check_existing(layout, spec)
    finally:
        remove_tree(new.root)
    return True


def _is_taken(layout: StudyLayout) -> bool:
    """True if something is at the study's path that `rename` cannot take the place of: only an empty directory is not.

    Removes what a launch of an older version left there that was killed before it had written study.yaml.
    """
    if not layout.root.is_dir() or layout.root.is_symlink():
        return layout.root.exists() or layout.root.is_symlink()
    names = {path.name for path in layout.root.iterdir()}
    begun = {layout.ds_config.name, layout.warm_start.name}
    if names and names <= begun and layout.root.stat().st_uid == os.getuid():
        for name in names:
            (layout.root / name).unlink(missing_ok=True)
        return False
    return bool(names)


def _fill(layout: StudyLayout, spec: StudySpec, warm: WarmStart) -> None:
    from hposlurm.spec import dump

    if spec.trial.deepspeed is not None:
        chosen = spec.trial.deepspeed
        create_once(layout.ds_config, to_json(ds_config(chosen.zero_stage, chosen.offload)))
    freeze(layout, warm)
    create_once(layout.spec(), dump(spec).encode())


def _check_existing(layout: StudyLayout, spec: StudySpec) -> bool:
    from hposlurm.spec.frozen import frozen_spec

    if not layout.root.is_dir():
        raise RequestError(
            f"{layout.root} is a file, but the study's directory needs this path; choose another name (--set name=…)"
        )
    if not layout.spec().exists():
        raise RequestError(f"{layout.root} exists and is not a study; choose another name (--set name=…)")
    if differing := differences(frozen_spec(layout), spec):
        shown = "; ".join(differing[:_SHOWN]) + (f"; and {len(differing) - _SHOWN} more" if differing[_SHOWN:] else "")
        raise RequestError(
            f"{layout.root} holds a study with another spec ({shown}); to change that study: hposlurm resume "
            f"{layout.root.name} --from STUDY.yaml; or choose another name for the new one (--set name=…)"
        )
    return False


def discard(layout: StudyLayout, error: Exception) -> bool:
    """Removes a study that this process created, unless a job of it may be left after `error`; False in that case.

    After a refusal no array is left (Backend.submit). After any other error a held job may wait, which can be found
    again only by the token in intent.json.
    """
    waves = [layout.wave(index) for index in layout.waves()]
    is_answer = isinstance(error, LimitError) or not isinstance(error, NotNowError)
    is_refusal = isinstance(error, BackendError) and is_answer
    if any(wave.jobs.exists() for wave in waves) or (any(w.intent.exists() for w in waves) and not is_refusal):
        return False
    remove_tree(layout.root)
    return True


@dataclass(frozen=True, slots=True)
class Preview:
    """The first wave of a study as `launch` would submit it."""

    #: The plan of wave 0.
    plan: WavePlan
    #: The exact batch scripts.
    scripts: tuple[Script, ...]
    #: The possible cost of the whole study.
    cost: Cost
    #: The trials taken from other studies.
    warm: WarmStart = NOTHING_TAKEN
    #: How many trials run at the same time.
    at_once: int = 1


def preview(layout: StudyLayout, spec: StudySpec, capacity: Capacity, clock: Clock = CLOCK) -> Preview:
    """Plans and renders wave 0; writes nothing and submits nothing."""
    size, gpus = capacity.wave_size(spec), capacity.gpus(spec)
    warm = gather(layout, spec)
    plan = next_plan(layout, spec, History(), (), wave_size=size, gpus=gpus, now=clock.now(), warm=warm)
    request = replace(submission.request_for(layout, spec, plan, "TOKEN"), is_late=chain.is_used(spec, capacity))
    cost = study_cost(spec, plan, wave_size=size, gpus=gpus)
    return Preview(plan, tuple(capacity.scripts(request)) if plan.assignments else (), cost, warm, size)


def cancel(layout: StudyLayout, backend: Backend, trials: Sequence[int] = ()) -> str:
    """Cancels the study for good, or only some of its trials; returns what was cancelled, for a person.

    STOP is written before any job is cancelled: `afterany` starts a planner after scancel too.
    """
    history = read_history(layout)
    if trials:
        return _cancel_trials(layout, backend, history, trials)
    if is_over := over(history):
        return is_over
    create_once(layout.stop, b"")
    fail_point("stop written")
    _sweep(layout, backend, history)
    if not _submitted(layout, history):
        return "nothing was submitted, and no wave will be"
    jobs = _all_jobs(layout, history)
    others = {*backend.cancel(_planners(jobs), _tokens(jobs))}
    fail_point("planner cancelled")
    before, history = history, read_history(layout)
    jobs = _all_jobs(layout, history)
    if len(history.plans) != len(before.plans):  # a planner was in the middle of submitting the next wave
        others |= {*backend.cancel(_planners(jobs), _tokens(jobs))}
    others |= {*backend.cancel([array.job_id for found in jobs for array in found.arrays], _tokens(jobs))}
    fail_point("arrays cancelled")
    said = []
    for wave, found in _submitted(layout, history):
        names = ", ".join(array.job_id for array in found.arrays)
        said.append(f"wave {wave} (jobs {names}{f', planner {found.planner}' if found.planner else ''})")
    return f"{', '.join(said)}; no further wave will be submitted{_left_alone(others)}"


def _left_alone(job_ids: Collection[str]) -> str:
    """Returns what to say about jobs whose names do not have the study's token; "" if there are none."""
    if not job_ids:
        return ""
    names = " ".join(sorted(job_ids))
    return (
        f"; left alone, since by their names they are not this study's: {names} (squeue -j {','.join(sorted(job_ids))} "
        f"shows them, scancel {names} ends them)"
    )


def over(history: History) -> str:
    """Returns why there is nothing to cancel in a finished or paused study; "" for any other study."""
    if history.paused:
        return f"nothing: no job is left, since the study has paused ({history.paused})"
    return f"nothing: the study is over already ({history.finished})" if history.finished else ""


def _submitted(layout: StudyLayout, history: History) -> list[tuple[int, WaveJobs]]:
    """Returns (wave, jobs) of the submitted waves in flight, oldest first."""
    found = ((plan.wave, submission.submitted_jobs(layout.wave(plan.wave))) for plan in history.in_flight)
    return [(wave, jobs) for wave, jobs in found if jobs is not None]


def _sweep(layout: StudyLayout, backend: Backend, history: History) -> None:
    """Cancels held arrays of submissions that died before their jobs were recorded; what is recorded comes later."""
    for plan in history.in_flight:
        wave = layout.wave(plan.wave)
        if wave.intent.exists() and not wave.jobs.exists():
            from hposlurm.spec.frozen import frozen_spec

            backend.sweep(submission.request_for(layout, frozen_spec(layout), plan, token_of(wave)), ())


def _all_jobs(layout: StudyLayout, history: History) -> list[WaveJobs]:
    """Returns the jobs of the waves in flight and of the pairs submitted after them."""
    return [*(jobs for _, jobs in _submitted(layout, history)), *chain.later_jobs(layout, history.plans[-1].wave)]


def _planners(jobs: Sequence[WaveJobs]) -> list[str]:
    return [found.planner for found in jobs if found.planner]


def _tokens(jobs: Sequence[WaveJobs]) -> list[str]:
    return [found.token for found in jobs]


def _cancel_trials(layout: StudyLayout, backend: Backend, history: History, trials: Sequence[int]) -> str:
    running: dict[int, str] = {}
    for plan in history.in_flight:
        jobs = submission.submitted_jobs(layout.wave(plan.wave))
        ids = element_ids(plan, jobs.arrays) if jobs else []
        runs = bound(layout.wave(plan.wave), plan)
        running |= {a.trial: ids[index] for index, a in sorted(runs.items()) if index < len(ids) and ids[index]}
    waiting = [n for n in trials if backend.is_foreground and n in running and not history.trial(n).attempts]
    if waiting:
        raise RequestError(f"trial {waiting[0]} has not started; on this machine only a running trial can be cancelled")
    absent = [n for n in trials if n not in running or history.trial(n).state.is_finished]
    if absent:
        going = sorted(n for n in running if not history.trial(n).state.is_finished)
        raise RequestError(
            f"trial {absent[0]} is not running or waiting; these are: {', '.join(map(str, going)) or 'none'}"
        )
    others = backend.cancel([running[n] for n in trials], _tokens(_all_jobs(layout, history)))
    named = ", ".join(f"trial {n} (job {running[n]})" for n in trials)
    return f"{named}; the study goes on{_left_alone(others)}"


def lift_stop(layout: StudyLayout) -> None:
    """Makes a cancelled study ready to continue: the trials that were cancelled with it will be retried."""
    if layout.stop.exists():
        for last in layout.waves()[-1:]:
            for index in (*read_plan(layout.wave(last)).in_flight, last):
                create_once(layout.wave(index).cancelled, b"")
        fail_point("cancel marked")
        layout.stop.unlink(missing_ok=True)
