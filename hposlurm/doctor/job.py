"""Submits the probe job like a study's jobs, waits with a deadline, and cancels it if it does not start."""

from __future__ import annotations

import contextlib
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hposlurm import __version__
from hposlurm.backend.base import ElementState
from hposlurm.backend.queries import ask, parse_squeue
from hposlurm.doctor.finding import within
from hposlurm.errors import BackendError
from hposlurm.records.journal import read
from hposlurm.render.script import script, template_text
from hposlurm.trial import JobState

_SUBMIT_DEADLINE_S = 60.0
_ASK_TIMEOUT_S = 15.0
# The job's time limit of a minute, KillWait, and the delay of Slurm's own timers
_RUN_DEADLINE_S = 180.0
# NFS may show a finished job's file up to a minute late
_REPLY_DEADLINE_S = 65.0
# All users share the controller: the pause between queries grows
_POLL_S, _SLOW_POLL_S = 0.5, 5.0
_END_DEADLINE_S = 5.0

_NOTHING_KNOWN = ElementState(JobState.UNKNOWN)
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ProbeRequest:
    """The options of a probe job."""

    #: The probe's own directory, on the study root's file system.
    directory: Path
    #: The name of the job, and of the job that it submits.
    token: str
    #: Options of sbatch, with their values.
    options: tuple[tuple[str, str], ...]
    #: How many GPUs the job requests.
    gpus: int
    #: How long to wait for the start of the job.
    wait_s: float


@dataclass(frozen=True, slots=True)
class ProbeOutcome:
    """The outcome of a probe job."""

    job_id: str = ""
    #: Why sbatch refused the job; "" if it did not.
    refusal: str = ""
    has_started: bool = False
    #: How long the job waited for its start.
    waited_s: float = 0.0
    #: The last known state of the job.
    last: ElementState = _NOTHING_KNOWN
    #: The job's records by part: "node", "sbatch", "torch".
    parts: dict[str, dict[str, Any]] | None = None
    #: The last line of the job's log.
    log_tail: str = ""


def probe_script(request: ProbeRequest) -> str:
    """Returns the batch script of the probe job."""
    values = {
        "version": __version__,
        "job_name": request.token,
        "log": re.sub(r'(["\\])', r"\\\1", str(request.directory / "job.log").replace("%", "%%")),
        "gpus": request.gpus,
        "sbatch_options": request.options,
        "python": sys.executable,
        "directory": request.directory,
    }
    return script(template_text("probe.sbatch.j2"), "templates/probe.sbatch.j2", values)


def run_probe(request: ProbeRequest, progress: Progress) -> ProbeOutcome:
    """Submits the job and waits for it. Always cancels all jobs of that name at the end."""
    from hposlurm.backend.executor import ScriptExecutor

    (request.directory / "token").write_text(request.token)
    try:
        text = probe_script(request)
        job_id = within(_SUBMIT_DEADLINE_S, lambda: ScriptExecutor(request.directory).submit_script(text))
        progress(f"probe job {job_id}: waiting at most {request.wait_s:g} s for its start; Ctrl-C cancels it")
        return _wait(request, job_id)
    except BackendError as error:
        return ProbeOutcome(refusal=" ".join(str(error).split()))
    finally:
        with contextlib.suppress(BackendError):
            ask("scancel", "--quiet", f"--name={request.token}", timeout_s=_ASK_TIMEOUT_S)


def _wait(request: ProbeRequest, job_id: str) -> ProbeOutcome:
    begin = time.monotonic()
    started: float | None = None
    seen: float | None = None
    pause = _POLL_S
    state = ElementState(JobState.PENDING)
    while not state.state.is_terminal:
        parts = _parts(request)
        if started is None and (parts or state.state is JobState.RUNNING):
            started = time.monotonic()
        if "torch" in parts and seen is None:  # the last part: only the end of the job is missing
            seen = time.monotonic()
        if time.monotonic() > _deadline(begin + request.wait_s, started, seen):
            break
        time.sleep(pause)
        pause = min(_SLOW_POLL_S, pause * 1.1)
        state = _state(job_id, state)
    parts = _late_parts(request) if state.state is JobState.COMPLETED else _parts(request)
    has_started = bool(parts) or started is not None or state.state.is_terminal
    waited = (started or time.monotonic()) - begin
    return ProbeOutcome(job_id, "", has_started, waited, state, parts, _tail(request.directory / "job.log"))


def _deadline(start: float, started: float | None, seen: float | None) -> float:
    if seen is not None:
        return seen + _END_DEADLINE_S
    return start if started is None else started + _RUN_DEADLINE_S


def _state(job_id: str, before: ElementState) -> ElementState:
    """Returns the state in squeue; `before` if squeue does not answer, COMPLETED if it has forgotten the job."""
    try:
        text = ask("squeue", "-a", "-h", "-t", "all", "-j", job_id, "-o", "%i|%T|%r", timeout_s=_ASK_TIMEOUT_S)
    except BackendError as error:
        return ElementState(JobState.COMPLETED) if "Invalid job id" in str(error) else before
    return parse_squeue(text).get(job_id, before)


def _late_parts(request: ProbeRequest) -> dict[str, dict[str, Any]]:
    end = time.monotonic() + _REPLY_DEADLINE_S
    while "torch" not in (parts := _parts(request)) and time.monotonic() < end:
        time.sleep(_POLL_S)
    return parts


def _parts(request: ProbeRequest) -> dict[str, dict[str, Any]]:
    """Returns the records that the job has appended so far, by part."""
    with contextlib.suppress(OSError):
        return {str(record.get("part")): record for record in read(request.directory / "node.jsonl").records}
    return {}


def _tail(log: Path) -> str:
    with contextlib.suppress(OSError):
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1].strip() if lines else ""
    return ""
