"""Submitting a recorded wave exactly once, whatever dies in between.

intent.json (created once: who submits, under which token) → arrays, held → jobs.json (created once: these arrays are
the wave) → planner job → release. Held arrays that lose the race for jobs.json are cancelled by whoever submitted
them, so a second submission never runs.
"""

from __future__ import annotations

import json
import os
import socket
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from hposlurm.backend import ArrayJob, Backend, WaveRequest
from hposlurm.backend.jobs import WaveJobs, read_jobs
from hposlurm.errors import StudyError
from hposlurm.files import create_once, publish, to_json
from hposlurm.layout import StudyLayout, WaveLayout
from hposlurm.plan import WavePlan

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec

# How long another planner may take between its intent and its jobs.json before it counts as dead.
TAKEOVER_S = 120


def submitted_jobs(wave: WaveLayout) -> WaveJobs | None:
    """The wave's jobs; None if it was not submitted yet. Raises StudyError rather than take damage for that."""
    jobs = read_jobs(wave)
    if jobs is None and wave.jobs.exists():
        raise StudyError(f"{wave.jobs} is damaged; look at the queue before anything is submitted again")
    return jobs


def request_for(layout: StudyLayout, spec: StudySpec, plan: WavePlan, token: str) -> WaveRequest:
    return WaveRequest(layout, spec, plan.wave, len(plan.assignments), token)


def submit_wave(layout: StudyLayout, spec: StudySpec, backend: Backend, plan: WavePlan, now: float) -> WaveJobs | None:
    """Submits the wave, or finishes a submission that somebody began; None while another planner is at it."""
    wave = layout.wave(plan.wave)
    token = _claim(wave, backend, now)
    if token is None:
        return None
    request = request_for(layout, spec, plan, token)
    jobs = submitted_jobs(wave)
    if jobs is None:
        arrays = backend.submit(request)
        mine = {"arrays": [asdict(a) for a in arrays], "backend": backend.name, "submitted_at": now}
        create_once(wave.jobs, to_json(mine))
        jobs = submitted_jobs(wave)
        if jobs is None:
            raise StudyError(f"{wave.jobs} vanished right after it was written")
        lost = {a.job_id for a in arrays} - {a.job_id for a in jobs.arrays}
        if lost:
            backend.cancel(sorted(lost))
    start(request, backend, wave, jobs.arrays)
    return jobs


def start(request: WaveRequest, backend: Backend, wave: WaveLayout, arrays: Sequence[ArrayJob]) -> None:
    """Puts a planner behind the arrays and lets them go; safe to repeat after a crash at any point."""
    if wave.released.exists():
        return
    jobs = read_jobs(wave)
    if jobs is None or jobs.planner is None:
        put_planner(request, backend, wave, arrays)
    backend.release(arrays)
    create_once(wave.released, b"")


def put_planner(request: WaveRequest, backend: Backend, wave: WaveLayout, arrays: Sequence[ArrayJob]) -> None:
    """Submits a planner job behind the arrays and records its id (nothing where the backend needs none)."""
    job_id = backend.submit_planner(request, arrays)
    if job_id is not None:
        publish(wave.planner_job, to_json({"job_id": job_id}))


def _claim(wave: WaveLayout, backend: Backend, now: float) -> str | None:
    """The wave's token, if this process may submit it; None while its owner is alive and at it."""
    mine = {"token": uuid.uuid4().hex[:12], "host": socket.gethostname(), "pid": os.getpid(), "created_at": now}
    if create_once(wave.intent, to_json({**mine, "backend": backend.name})):
        return str(mine["token"])
    try:
        intent = json.loads(wave.intent.read_bytes())
        token, owner, created_at = str(intent["token"]), (intent["host"], intent["pid"]), float(intent["created_at"])
    except (ValueError, KeyError, TypeError) as error:
        raise StudyError(f"{wave.intent} is damaged: {error}") from error
    here = owner[0] == socket.gethostname()
    dead = here and not _lives(int(owner[1]))
    submitted = wave.jobs.exists()
    return token if submitted or dead or owner == (mine["host"], mine["pid"]) or now - created_at > TAKEOVER_S else None


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
