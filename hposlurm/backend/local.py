"""The local backend: runs the same worker processes on this machine, while a process waits for them.

Element ids contain the driver's identity (host, process id, start time), so that another process can find out whether
the driver is alive. Each element gets its own set of GPUs, by CUDA_VISIBLE_DEVICES.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

from hposlurm.backend.base import DRIVER_ENDED, ElementState, NodeJob, Script, Usage, WaveRequest
from hposlurm.backend.bound import end_with_parent
from hposlurm.backend.identity import OwnJob, slurm_job, start_time
from hposlurm.errors import BackendError, Problem
from hposlurm.records.jobs import ArrayJob
from hposlurm.records.permissions import make_directory, open_file
from hposlurm.trial import JobState

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec

_POLL_S = 0.05
# By the worker's exit status. 3 is "interrupted" from outside: the driver knows its own cancellations.
_ENDS = {0: JobState.COMPLETED, 3: JobState.CANCELLED}


@dataclass(slots=True)
class _Element:
    """One array element, from its submission to the end of its worker."""

    job_id: str
    command: list[str]
    #: The directory for its logs.
    logs: Path
    gpus_wanted: int
    #: How many elements may run at the same time as this one, itself included.
    cap: int
    #: Elements with a lower value start first.
    nice: int
    state: JobState = JobState.PENDING
    is_cancelled: bool = False
    process: subprocess.Popen[bytes] | None = None
    #: The GPUs that it got.
    gpus: tuple[str, ...] = ()
    #: The open log files.
    files: list[IO[bytes]] = field(default_factory=list)

    @property
    def array(self) -> str:
        return self.job_id.rpartition("_")[0]


class LocalBackend:
    """Runs waves in the foreground: `wait` starts the workers and awaits them, `waves.max_concurrent` at a time."""

    name = "local"
    is_foreground = True

    def __init__(self, gpu_ids: Sequence[str] | None = None) -> None:
        self._gpu_ids = tuple(visible_gpus() if gpu_ids is None else gpu_ids)
        self._free_gpus = list(self._gpu_ids)
        self._elements: dict[str, _Element] = {}
        self._arrays = 0
        self._released: set[str] = set()

    def problems(self, spec: StudySpec) -> list[Problem]:
        wanted = spec.resources.gpus_per_node
        if self._gpu_ids and wanted > len(self._gpu_ids):
            have = f"{len(self._gpu_ids)} ({', '.join(self._gpu_ids)})"
            return [Problem("resources.gpus_per_node", f"{wanted} requested, but this machine shows {have}")]
        if not self._gpu_ids and spec.ends_by == {"gpu_hours"}:
            message = "this machine shows no GPUs, so the budget is never used up and nothing else ends the study"
            return [Problem("budget.gpu_hours", message, "set budget.n_trials or budget.wall_time as well")]
        return []

    def wave_size(self, spec: StudySpec) -> int:
        if spec.waves.max_concurrent:
            return spec.waves.max_concurrent
        if self._gpu_ids and spec.resources.gpus_per_node:
            return len(self._gpu_ids) // spec.resources.gpus_per_node
        return max(1, (os.cpu_count() or 1) // spec.resources.cpus_per_task)

    def gpus(self, spec: StudySpec) -> int:
        return spec.resources.gpus_per_node if self._gpu_ids else 0

    def nodes(self, spec: StudySpec) -> tuple[str, ...]:  # noqa: ARG002
        return ()  # there is only this machine

    def scripts(self, request: WaveRequest) -> list[Script]:
        lines = (" ".join(_worker_command(request, i)) for i in range(request.count))
        return [Script("processes on this machine", "\n".join(lines) + "\n")]

    def submit(self, request: WaveRequest) -> list[ArrayJob]:
        logs = request.layout.wave(request.wave).logs
        make_directory(logs)
        array = f"{_driver_id(os.getpid())}.{self._arrays}"
        self._arrays += 1
        gpus = self.gpus(request.spec)
        cap = self.wave_size(request.spec)
        nice = [group.nice for group in request.groups for _ in range(group.count)] or [0] * request.count
        for index in range(request.count):
            job_id = f"{array}_{index}"
            self._elements[job_id] = _Element(job_id, _worker_command(request, index), logs, gpus, cap, nice[index])
        return [ArrayJob(array, 0, request.count)]

    def submit_planner(self, request: WaveRequest, arrays: Sequence[ArrayJob]) -> str | None:  # noqa: ARG002
        return None

    def sweep(self, request: WaveRequest, arrays: Sequence[ArrayJob]) -> None:
        """Does nothing: no element outlives the process that submitted it."""

    def arrays_of(self, tokens: Collection[str]) -> Mapping[str, Sequence[str]]:  # noqa: ARG002
        return {}

    def release(self, arrays: Sequence[ArrayJob]) -> None:
        """Lets the arrays start at the next `wait`."""
        self._released.update(array.job_id for array in arrays)

    def wait(self, arrays: Sequence[ArrayJob]) -> None:
        """Runs the arrays to their end; on Ctrl-C or SIGTERM first asks every worker to save and exit."""
        wanted = {array.job_id for array in arrays}
        everything = [e for e in self._elements.values() if e.array in wanted | self._released]
        everything.sort(key=lambda element: element.nice)
        mine = [e for e in everything if e.array in wanted]
        try:
            while any(not e.state.is_terminal for e in mine):
                self._start_what_fits(everything)
                self._reap(everything)
                time.sleep(_POLL_S)
        except BaseException:
            self.cancel([e.job_id for e in everything])
            raise

    def cancel(self, job_ids: Sequence[str], tokens: Collection[str] | None = None) -> tuple[str, ...]:  # noqa: ARG002
        own = [e for e in self._elements.values() if _is_named(e.job_id, job_ids)]
        for element in own:
            element.is_cancelled = not element.state.is_terminal
            if element.process is None and not element.state.is_terminal:
                element.state = JobState.CANCELLED
            elif element.process is not None and element.process.poll() is None:
                element.process.terminate()
        while any(e.process is not None and not e.state.is_terminal for e in own):
            self._reap(own)
            time.sleep(_POLL_S)
        for job_id in job_ids:
            if (pid := _foreign_process(job_id)) is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
        return ()  # an id names one process of one host, by its start time

    def states(self, job_ids: Sequence[str]) -> Mapping[str, ElementState]:
        own = self._elements
        return {j: ElementState(own[j].state) if j in own else _foreign_state(_driver_of(j)) for j in job_ids}

    def running_on(self, nodes: Collection[str]) -> Sequence[NodeJob]:  # noqa: ARG002
        return ()

    def own_job(self) -> OwnJob | None:
        return slurm_job()  # the driver may run in one, which may be requeued

    def run_again_later(self) -> bool:
        return False

    def usage(self, array_ids: Sequence[str]) -> Mapping[str, Sequence[Usage]] | None:  # noqa: ARG002
        return None  # there is no accounting here: the workers' own records count

    def _start_what_fits(self, elements: Sequence[_Element]) -> None:
        running = sum(e.state is JobState.RUNNING for e in elements)
        for element in elements:
            if element.state is not JobState.PENDING:
                continue
            if running >= element.cap or len(self._free_gpus) < element.gpus_wanted:
                return
            element.gpus = tuple(self._free_gpus[: element.gpus_wanted])
            del self._free_gpus[: element.gpus_wanted]
            self._start(element)
            running += 1

    def _start(self, element: _Element) -> None:
        try:
            element.files = [_log(element.logs / f"{element.job_id}_0_log.{name}") for name in ("out", "err")]
        except OSError as error:
            raise BackendError(f"cannot write a worker's log: {error.strerror} ({error.filename})") from error
        environment = {
            **os.environ,
            "CUDA_VISIBLE_DEVICES": ",".join(element.gpus),
            "HPOSLURM_GPUS": str(len(element.gpus)),
            "HPOSLURM_GPU_IDS": ",".join(element.gpus),
            "HPOSLURM_JOB_ID": element.job_id,
            "HPOSLURM_LOG": str(element.logs / f"{element.job_id}_0_log.out"),
        }
        try:
            element.process = subprocess.Popen(
                element.command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=element.files[0],
                stderr=element.files[1],
                start_new_session=True,  # Ctrl-C reaches only this process, which then asks the workers to exit
                preexec_fn=_end_with_parent,
            )
        except OSError as error:
            raise BackendError(f"cannot start a worker: {error}") from error
        element.state = JobState.RUNNING

    def _reap(self, elements: Sequence[_Element]) -> None:
        for element in elements:
            if element.process is None or element.state.is_terminal or element.process.poll() is None:
                continue
            ended = _ENDS.get(element.process.returncode, JobState.FAILED)
            element.state = JobState.CANCELLED if element.is_cancelled else ended
            self._free_gpus = sorted([*self._free_gpus, *element.gpus], key=self._gpu_ids.index)
            for file in element.files:
                file.close()


def visible_gpus() -> list[str]:
    """Returns the GPUs that processes on this machine may use: $CUDA_VISIBLE_DEVICES, else those in nvidia-smi."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is not None:
        return [gpu.strip() for gpu in listed.split(",") if gpu.strip() not in ("", "-1")]
    try:
        command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.split() if done.returncode == 0 else []


def _worker_command(request: WaveRequest, index: int) -> list[str]:
    return [sys.executable, "-P", "-m", "hposlurm.worker", str(request.layout.root), str(request.wave), str(index)]


def _end_with_parent() -> None:
    """Asks the kernel, in the new process, for SIGTERM when the driver dies, so that the worker saves and exits."""
    end_with_parent(signal.SIGTERM)


def _log(path: Path) -> IO[bytes]:
    return os.fdopen(open_file(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), "ab")


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())


def _driver_id(pid: int) -> str:
    return f"{_host()}.{pid}.{start_time(pid)}"


def _driver_of(job_id: str) -> str:
    """Returns HOST.PID.START from an array's id HOST.PID.START.N or an element's id HOST.PID.START.N_INDEX."""
    return job_id.partition("_")[0].rpartition(".")[0]


def _driver_pid(driver: str) -> int | None:
    """Returns the process id of a driver that runs on this host; None if it has ended or runs elsewhere."""
    host, pid, started = driver.split(".") if driver.count(".") == 2 else ("", "", "")
    is_here = host == _host() and pid.isdigit() and bool(started)
    return int(pid) if is_here and start_time(int(pid)) == started else None


def _foreign_process(job_id: str) -> int | None:
    """Returns the id of the process to signal in order to end an array or element of another driver.

    That is the driver for an array, the worker for an element; None if it is not found on this host.
    """
    driver = _driver_of(job_id)
    pid = None if driver == _driver_id(os.getpid()) else _driver_pid(driver)
    if pid is None or "_" not in job_id:
        return pid
    mark = f"HPOSLURM_JOB_ID={job_id}".encode()
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with contextlib.suppress(OSError):
            if mark in Path(f"/proc/{child}/environ").read_bytes().split(b"\0"):
                return int(child)
    return None


def _foreign_state(driver: str) -> ElementState:
    """Returns the state of an element that another process drives, or drove: elements end with their driver."""
    if _driver_pid(driver) is not None:
        return ElementState(JobState.RUNNING, f"driven by process {driver.split('.')[1]} on this machine")
    if driver.partition(".")[0] != _host():
        return ElementState(JobState.UNKNOWN, f"driven on {driver.partition('.')[0]}")
    return ElementState(JobState.NODE_FAIL, DRIVER_ENDED)


def _is_named(job_id: str, wanted: Sequence[str]) -> bool:
    return any(job_id == name or job_id.startswith(f"{name}_") for name in wanted)
