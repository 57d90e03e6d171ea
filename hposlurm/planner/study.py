"""The life of a study around its waves: create, preview, revise, cancel, resume."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hposlurm.backend import Backend, Script
from hposlurm.deepspeed import ds_config
from hposlurm.errors import RequestError
from hposlurm.files import create_once, to_json
from hposlurm.history import History, read_history
from hposlurm.layout import StudyLayout
from hposlurm.plan import WavePlan
from hposlurm.planner import submission
from hposlurm.planner.decide import next_plan
from hposlurm.planner.settle import element_ids

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec

# What `resume --set` may not touch: the recorded trials would mean something else afterwards.
_FIXED = ("name", "objectives", "parameters", "conditionals", "backend")


def create(layout: StudyLayout, spec: StudySpec) -> bool:
    """Creates the study's directory (mode 0700) with its frozen spec; False if it is there with the same spec.

    Raises RequestError if something else is in the way, or the place cannot be written to.
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


def discard(layout: StudyLayout) -> bool:
    """Removes a study of which nothing was ever submitted; False, and nothing removed, once any wave has jobs."""
    submitted = any(layout.wave(index).jobs.exists() for index in layout.waves())
    if not submitted:
        shutil.rmtree(layout.root, ignore_errors=True)
    return not submitted


@dataclass(frozen=True, slots=True)
class Preview:
    """What `launch` would do first: the plan of wave 0 and the scripts, exactly."""

    plan: WavePlan
    scripts: tuple[Script, ...]


def preview(layout: StudyLayout, spec: StudySpec, backend: Backend) -> Preview:
    """Plans and renders wave 0 without writing or asking anything."""
    plan = next_plan(layout, spec, History(), (), wave_size=backend.wave_size(spec), now=time.time())
    request = submission.request_for(layout, spec, plan, "TOKEN")
    return Preview(plan, tuple(backend.scripts(request)) if plan.assignments else ())


def revise(layout: StudyLayout, settings: Sequence[str]) -> StudySpec:
    """Freezes a changed spec as the next revision (`study.1.yaml`, …) and returns it."""
    from hposlurm.spec import dump, load

    newest = layout.revisions()[-1]
    known = load(layout.spec(newest), frozen=True)
    spec = load(layout.spec(newest), settings=settings)
    if spec == known:
        return known
    fixed = [name for name in _FIXED if getattr(spec, name) != getattr(known, name)]
    if fixed:
        raise RequestError(f"a running study cannot change its {', '.join(fixed)}; launch a new study for that")
    if not create_once(layout.spec(newest + 1), dump(spec).encode()):
        raise RequestError(
            f"somebody else wrote {layout.spec(newest + 1)} at the same moment; look at it and try again"
        )
    return spec


def cancel(layout: StudyLayout, backend: Backend, trials: Sequence[int] = ()) -> str:
    """Cancels the study for good, or only some of its trials; says what was cancelled.

    STOP is written before any job is cancelled: a planner's `afterany` fires after scancel as well.
    """
    history = read_history(layout)
    plan = history.plans[-1] if history.plans else None
    jobs = submission.submitted_jobs(layout.wave(plan.wave)) if plan else None
    if trials:
        return _cancel_trials(layout, backend, history, trials)
    if plan is not None and plan.finished:
        return f"nothing: the study is over already ({plan.finished})"
    create_once(layout.stop, b"")
    if plan is None or jobs is None:
        return "nothing was submitted; no wave will be"
    planner = jobs.planner
    backend.cancel([planner] if planner else [])
    backend.cancel([array.job_id for array in jobs.arrays])
    names = ", ".join(array.job_id for array in jobs.arrays)
    return (
        f"wave {plan.wave} (jobs {names}{f', planner {planner}' if planner else ''}); no further wave will be submitted"
    )


def _cancel_trials(layout: StudyLayout, backend: Backend, history: History, trials: Sequence[int]) -> str:
    running: dict[int, str] = {}
    for plan in history.plans[-1:]:
        jobs = submission.submitted_jobs(layout.wave(plan.wave))
        ids = element_ids(plan, jobs.arrays) if jobs else []
        running = {a.trial: job_id for a, job_id in zip(plan.assignments, ids, strict=False)}
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
        for index in layout.waves()[-1:]:
            create_once(layout.wave(index).cancelled, b"")
        layout.stop.unlink(missing_ok=True)
