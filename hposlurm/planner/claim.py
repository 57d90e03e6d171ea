"""The claim on submitting a wave: `intent.json` is created once, and is taken over only from a dead planner.

A takeover is another file (`intent.1.json`, …) that is created once, so that only one of several planners takes over
from a dead one. All files contain the first one's token, by which the jobs of an interrupted submission are found.
"""

from __future__ import annotations

import os
import socket
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

from hposlurm.backend import Backend, OwnJob, start_time
from hposlurm.errors import BackendError, StudyError
from hposlurm.records.files import age_s, create_once, from_json, to_json
from hposlurm.records.layout import WaveLayout
from hposlurm.records.reading import read_whole
from hposlurm.trial import JobState

# A planner whose state cannot be found out counts as dead if this long after its intent there is no jobs.json. An error
# costs no trial: only one jobs.json is created, and the other planner cancels its held arrays.
TAKEOVER_S = 120


@dataclass(frozen=True, slots=True)
class Owner:
    """A process, identified beyond its lifetime."""

    host: str
    #: The kernel's boot id and the process namespace: only within these can a process be looked up.
    kernel: str
    pid: int
    #: The start time, which distinguishes it from a later process with the same id.
    started: str
    #: The job that it runs in; "" outside a job.
    job_id: str
    #: How many times that job had been requeued.
    restart: int


def this_process(backend: Backend) -> Owner:
    """Returns this process as an owner."""
    job = backend.own_job() or OwnJob("")
    return Owner(socket.gethostname(), _kernel(), os.getpid(), start_time(os.getpid()), job.job_id, job.restart)


def is_own(job_id: str, backend: Backend) -> bool:
    """True if this process runs in the job `job_id`."""
    me = backend.own_job()
    return me is not None and me.job_id == job_id


def claim(wave: WaveLayout, backend: Backend) -> str | None:
    """Returns the wave's token if this process may submit the wave; None while its owner may be alive.

    Raises StudyError if the newest intent is damaged.
    """
    me = this_process(backend)
    record = {"token": uuid.uuid4().hex[:12], "backend": backend.name, **asdict(me)}
    if create_once(wave.intent, to_json(record)):
        return str(record["token"])
    claims = wave.intents()
    if not claims:  # created a moment ago on another node, and not yet visible here
        return None
    token, owner = _read(claims[-1])
    if owner == me:
        return token
    is_free = _is_dead(owner, me, claims[-1], backend)
    return token if is_free and create_once(wave.takeover(claims[-1]), to_json({**record, "token": token})) else None


def token_of(wave: WaveLayout) -> str:
    """Returns the token of a claimed wave. Raises StudyError if its intent is missing or damaged."""
    return _read(wave.intent)[0]


def _read(path: Path) -> tuple[str, Owner]:
    try:
        found = from_json(read_whole(path))
        owner = Owner(**{name: found[name] for name in Owner.__dataclass_fields__})
        return str(found["token"]), owner
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StudyError(f"{path} is damaged: {error}") from error


def _is_dead(owner: Owner, me: Owner, intent: Path, backend: Backend) -> bool:
    if (owner.host, owner.kernel) == (me.host, me.kernel):
        return start_time(owner.pid) != owner.started
    if owner.job_id and owner.job_id == me.job_id and owner.restart < me.restart:
        return True  # this process's own job, before it was requeued
    if owner.job_id and owner.job_id != me.job_id:
        state = _job_state(backend, owner.job_id)
        if state is not JobState.UNKNOWN:
            return state is not JobState.RUNNING  # a requeued planner job has lost its process too
    return age_s(intent) > TAKEOVER_S


def _job_state(backend: Backend, job_id: str) -> JobState:
    try:
        found = backend.states([job_id]).get(job_id)
    except BackendError:
        return JobState.UNKNOWN
    return JobState.UNKNOWN if found is None else found.state


def _kernel() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""
