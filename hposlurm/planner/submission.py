"""Submits a recorded wave exactly once, even if processes die in between.

intent.json (created once: which process submits, with which token) → held arrays → their planner job → jobs.json
(created once: these arrays are the wave) → planner.json → release. Held arrays that are not in jobs.json are cancelled
by the process that submitted them, or by the one that releases the wave, so a second submission never runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import groupby
from typing import TYPE_CHECKING

from hposlurm.backend import ArrayJob, Backend, Group, WaveRequest
from hposlurm.decisions import mode_of
from hposlurm.errors import BackendError, LimitError, StudyError
from hposlurm.planner.claim import claim
from hposlurm.records.assignment import Assignment
from hposlurm.records.fail_points import fail_point
from hposlurm.records.files import create_once, publish, to_json
from hposlurm.records.jobs import WaveJobs, read_jobs
from hposlurm.records.layout import StudyLayout, WaveLayout
from hposlurm.records.permissions import make_directory
from hposlurm.records.plan import WavePlan
from hposlurm.search import stage_ends

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec


def submitted_jobs(wave: WaveLayout) -> WaveJobs | None:
    """Returns the wave's jobs; None if it is not submitted yet. Raises StudyError if their record is damaged."""
    jobs = read_jobs(wave)
    if jobs is None and wave.jobs.exists():
        raise StudyError(f"{wave.jobs} is damaged; look at the queue before anything is submitted again")
    return jobs


def request_for(layout: StudyLayout, spec: StudySpec, plan: WavePlan, token: str = "") -> WaveRequest:
    groups = groups_of(spec, plan)
    return WaveRequest(layout, spec, plan.wave, plan.size, token, plan.exclude, groups=groups, lane=plan.lane)


def submit_wave(request: WaveRequest, backend: Backend, now: float) -> WaveJobs | None:
    """Submits the wave, or completes an interrupted submission; None while another planner submits it.

    The request's token is ignored, since the wave has its own. The arrays may cover only the first elements of the
    wave, if the cluster's limits leave no room for more.
    """
    wave = request.layout.wave(request.wave)
    make_directory(wave.root)
    token = claim(wave, backend)
    if token is None:
        return None
    fail_point("claimed")
    request = replace(request, token=token)
    jobs = submitted_jobs(wave) or _submit(request, backend, wave, now)
    if jobs is not None:
        _start(request, backend, wave, jobs)
    return jobs


def _submit(request: WaveRequest, backend: Backend, wave: WaveLayout, now: float) -> WaveJobs | None:
    """Submits held arrays and their planner and records them as the wave's; None if another planner's are recorded."""
    arrays, planner = _submit_what_fits(request, backend)
    fail_point("planner submitted")
    mine = {"arrays": [asdict(a) for a in arrays], "backend": backend.name, "submitted_at": now}
    mine |= {"late": True} if request.is_late else {}
    is_mine = create_once(wave.jobs, to_json(mine))
    jobs = submitted_jobs(wave)
    if jobs is None:
        raise StudyError(f"{wave.jobs} disappeared right after it was written")
    if not is_mine:
        unrecorded = {a.job_id for a in arrays} - {a.job_id for a in jobs.arrays}
        if unrecorded:
            backend.cancel(sorted(unrecorded))  # not its planner: the other process may have found and kept that one
        return None
    fail_point("jobs recorded")
    if planner is not None:
        _record_planner(wave, planner)
    return submitted_jobs(wave)


def _submit_what_fits(request: WaveRequest, backend: Backend) -> tuple[list[ArrayJob], str | None]:
    """Submits the arrays with their planner; if there is room only for the arrays, makes the wave smaller.

    No wave is submitted without a planner.
    """
    fewer = 1
    while True:
        arrays = backend.submit(request)
        fail_point("array submitted")
        try:
            return arrays, backend.submit_planner(request, arrays)
        except BackendError as error:
            backend.cancel([array.job_id for array in arrays])
            fits = sum(array.count for array in arrays) - fewer
            if not isinstance(error, LimitError) or fits < 1:
                raise
            request, fewer = replace(request, count=fits), 2 * fewer


def _start(request: WaveRequest, backend: Backend, wave: WaveLayout, jobs: WaveJobs) -> None:
    """Releases the arrays, after making sure that they have a planner and that no other arrays of the wave are left.

    May be repeated after a crash at any point.
    """
    if wave.released.exists():
        return
    if jobs.planner is None:
        put_planner(request, backend, wave, jobs.arrays)
    backend.sweep(request, jobs.arrays)
    fail_point("swept")
    if request.layout.stop.exists():
        # `cancel` writes STOP before it reads jobs.json, this does the reverse: at least one of them sees the other
        now = read_jobs(wave) or jobs
        ids = [*([now.planner] if now.planner else []), *(array.job_id for array in now.arrays)]
        backend.cancel(ids, [request.token])
        return
    backend.release(jobs.arrays)
    fail_point("released")
    create_once(wave.released, b"")
    fail_point("release recorded")


def put_planner(request: WaveRequest, backend: Backend, wave: WaveLayout, arrays: Sequence[ArrayJob]) -> None:
    """Submits a planner job after the arrays and records its id; does nothing if the backend needs none."""
    job_id = backend.submit_planner(request, arrays)
    fail_point("planner submitted")
    if job_id is not None:
        _record_planner(wave, job_id)


def _record_planner(wave: WaveLayout, job_id: str) -> None:
    publish(wave.planner_job, to_json({"job_id": job_id}))
    fail_point("planner recorded")


#: The `--nice` of elements that only fill gaps. It does not grow from wave to wave, since other users' jobs wait too.
NICE = 100


def groups_of(spec: StudySpec, plan: WavePlan) -> tuple[Group, ...]:
    """Returns the wave's elements in their order, as groups of neighbours; () for a refill wave.

    If waves overlap, new trials let continued trials go first, even those planned later, and the trials of earlier
    waves.
    """
    if plan.elements is not None:
        return ()
    yields = mode_of(spec).name == "overlap" and (bool(plan.in_flight) or bool(stage_ends(spec.search)))

    def place(a: Assignment) -> tuple[int, int]:
        limit_s = plan.time_limit_s if a.time_limit_s is None else a.time_limit_s
        minutes = spec.resources.time_min if limit_s is None else round(limit_s / 60)
        return minutes, NICE if yields and a.from_step == 0 else 0

    return tuple(Group(len(list(found)), *key) for key, found in groupby(plan.assignments, place))
