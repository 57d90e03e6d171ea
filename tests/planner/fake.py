"""A cluster in memory, to test what the planner asks of a backend, and in which order."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from hposlurm.backend import ArrayJob, ElementState, NodeJob, Usage, WaveRequest
from hposlurm.backend.identity import OwnJob, slurm_job
from hposlurm.planner import advance, create
from hposlurm.records.history import read_history
from hposlurm.records.layout import StudyLayout
from hposlurm.records.plan import read_plan
from hposlurm.spec import StudySpec, parse
from hposlurm.trial import JobState, TrialState

BROKEN = "command exited with status 1"
NO_ROOM = "out of GPU memory: torch.OutOfMemoryError: CUDA out of memory"
TRIAL = {"command": "x {{ x }}", "workdir": "/"}


class Killed(BaseException):
    """Stands for SIGKILL: no code may catch it and continue."""


class FakeCluster:
    """A Backend over dictionaries. `die_after` names a call; the process is killed after its effect."""

    name = "fake"
    is_foreground = False

    def __init__(self) -> None:
        self.arrays: dict[str, dict[str, Any]] = {}
        self.planners: dict[str, dict[str, Any]] = {}
        self.calls: list[str] = []
        self.die_after = ""
        self.die_before = ""
        self.accounting: dict[str, list[Usage]] | None = None
        self.forced: dict[str, JobState] = {}
        self.cancelled: set[str] = set()
        self.known_nodes: tuple[str, ...] = ("n0", "n1", "n2", "n3")

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if self.die_before == name:
            self.die_before = ""
            raise Killed

    def _done(self, name: str) -> None:
        if self.die_after == name:
            self.die_after = ""
            raise Killed

    def problems(self, _spec: StudySpec) -> list:
        return []

    def wave_size(self, spec: StudySpec) -> int:
        return spec.waves.max_concurrent or 4

    def gpus(self, spec: StudySpec) -> int:
        return spec.resources.gpus_per_node

    def nodes(self, _spec: StudySpec) -> tuple[str, ...]:
        return self.known_nodes

    def scripts(self, _request: WaveRequest) -> list:
        return []

    def submit(self, request: WaveRequest) -> list[ArrayJob]:
        self._call("submit")
        for job_id, job in self.arrays.items():
            if job["token"] == request.token and not job["state"].is_terminal:
                return [ArrayJob(job_id, 0, request.count)]
        job_id = str(100 + len(self.arrays))
        self.arrays[job_id] = {"request": request, "token": request.token, "held": True, "state": JobState.PENDING}
        self._done("submit")
        return [ArrayJob(job_id, 0, request.count)]

    def submit_planner(self, request: WaveRequest, arrays: Sequence[ArrayJob]) -> str:
        self._call("submit_planner")
        me = self.own_job()
        for job_id, planner in self.planners.items():
            is_me = me is not None and me.job_id == job_id
            state = self.forced.get(job_id, planner["state"])
            if planner["token"] == request.token and state is JobState.PENDING and not is_me:
                return job_id
        job_id = str(900 + len(self.planners))
        after = [a.job_id for a in arrays]
        self.planners[job_id] = {"after": after, "state": JobState.PENDING, "token": request.token}
        self._done("submit_planner")
        return job_id

    def sweep(self, request: WaveRequest, arrays: Sequence[ArrayJob]) -> None:
        mine = [j for j, job in self.arrays.items() if job["token"] == request.token]
        self.cancel(sorted(set(mine) - {a.job_id for a in arrays}))

    def arrays_of(self, tokens: Collection[str]) -> dict[str, list[str]]:
        found = {t: [j for j, job in self.arrays.items() if job["token"] == t] for t in tokens}
        return {token: job_ids for token, job_ids in found.items() if job_ids}

    def release(self, arrays: Sequence[ArrayJob]) -> None:
        self._call("release")
        for array in arrays:
            self.arrays[array.job_id]["held"] = False
        self._done("release")

    def cancel(self, job_ids: Sequence[str], tokens: Collection[str] | None = None) -> tuple[str, ...]:
        others = [j for j in job_ids if tokens is not None and self._is_foreign(j, tokens)]
        if not job_ids:
            return ()
        self._call("cancel")
        for job_id in [job_id for job_id in job_ids if job_id not in others]:
            for jobs in (self.arrays, self.planners):
                if job_id in jobs and not jobs[job_id]["state"].is_terminal:
                    jobs[job_id]["state"] = JobState.CANCELLED
            array = self.arrays.get(job_id.partition("_")[0])
            if "_" in job_id and array and not array["state"].is_terminal:
                self.cancelled.add(job_id)
        self._done("cancel")
        return tuple(others)

    def _is_foreign(self, job_id: str, tokens: Collection[str]) -> bool:
        job = {**self.arrays, **self.planners}.get(job_id.partition("_")[0])
        return job is not None and not job["state"].is_terminal and job["token"] not in tokens

    def states(self, job_ids: Sequence[str]) -> dict[str, ElementState]:
        found = {}
        for job_id in job_ids:
            job = self.arrays.get(job_id.partition("_")[0]) or self.planners.get(job_id)
            if job is not None:
                state = JobState.CANCELLED if job_id in self.cancelled else job["state"]
                found[job_id] = ElementState(self.forced.get(job_id, state))
        return found

    def usage(self, _array_ids: Sequence[str]) -> dict[str, list[Usage]] | None:
        return self.accounting

    def running_on(self, _nodes: Collection[str]) -> list[NodeJob]:
        return []

    def own_job(self) -> OwnJob | None:
        return slurm_job()

    def run_again_later(self) -> bool:
        return False

    def wait(self, _arrays: Sequence[ArrayJob]) -> None:
        raise NotImplementedError

    def run(
        self,
        loss: Callable[[dict], float | str | None] = lambda p: p["x"] ** 2,
        host: Callable[[int], str] = lambda _index: "n1",
        saved: int | None = None,
    ) -> list[str]:
        """Runs every released array to its end; `loss` None leaves an element without an end record.

        `host` is where an element runs, `saved` the step of the checkpoint that each leaves.
        """
        ran = []
        for job_id, job in self.arrays.items():
            if job["held"] or job["state"] is not JobState.PENDING:
                continue
            layout, wave = job["request"].layout, job["request"].wave
            for index, assignment in enumerate(read_plan(layout.wave(wave)).assignments):
                if f"{job_id}_{index}" in self.cancelled:
                    continue
                value = loss(dict(assignment.params))
                write_attempt(
                    layout, wave, index, assignment.trial, f"{job_id}_{index}", value, host(index), saved=saved
                )
            job["state"] = JobState.COMPLETED
            ran.append(job_id)
        return ran


def write_attempt(
    layout: StudyLayout,
    wave: int,
    index: int,
    trial: int,
    job_id: str,
    loss: float | str | None,
    host: str = "n1",
    *,
    saved: int | None = None,
    stage: int = 0,
    step: int = 1,
) -> None:
    """Writes a journal as the worker does: complete for a number, failed for a text, without an end for None."""
    home = layout.trial(trial)
    home.root.mkdir(parents=True, exist_ok=True)
    number = len(home.attempts())
    now = time.time()
    lines: list[dict[str, Any]] = [
        {"kind": "start", "t": now, "trial": trial, "attempt": number, "wave": wave, "index": index, "host": host,
         "job_id": job_id, "restart": 0, "stage": stage, "gpus": 2, "gpu_ids": "0,1", "git_commit": None,
         "resumed_from": None, "pid": 1, "log": f"waves/{wave:04d}/logs/{job_id}_0_log.out"},
    ]  # fmt: skip
    if saved is not None:
        lines.append({"kind": "checkpoint", "t": now + 1, "step": saved, "path": f"checkpoint-{saved}"})
    if isinstance(loss, float):
        lines.append({"kind": "report", "t": now + 1, "step": step, "metrics": {"loss": loss}})
        lines.append({"kind": "end", "t": now + 2, "outcome": "complete", "reason": "", "exit_code": 0,
                      "metrics": {"loss": loss}, "tail": []})  # fmt: skip
    elif loss is not None:
        outcome = "interrupted" if loss.startswith("SIG") else "infeasible" if loss.startswith("out of") else "fail"
        lines.append({"kind": "end", "t": now + 2, "outcome": outcome, "reason": loss, "exit_code": 1,
                      "metrics": {}, "tail": ["last words"]})  # fmt: skip
    home.journal(number).write_text("".join(json.dumps(line) + "\n" for line in lines))


def spec(**changes: Any) -> StudySpec:
    """Returns a small TPE study with 3 waves of 4; arguments replace its keys."""
    data = {
        "name": "fake",
        "objectives": [{"name": "loss"}],
        "parameters": {"x": {"type": "float", "min": -1.0, "max": 1.0, "default": 0.5}},
        "search": {"algorithm": "tpe", "seed": 7},
        "budget": {"n_trials": 12},
        "waves": {"size": 4, "mode": "barrier"},
        "trial": {"command": "train --x {{ x }}", "workdir": "/"},
        "resources": {"gpus_per_node": 2},
    }
    return parse({**data, **changes}, "test")


def launched(layout: StudyLayout, **changes: Any) -> tuple[FakeCluster, StudySpec]:
    """A study with these changes of `spec`, its first waves submitted to a cluster of its own."""
    cluster, study = FakeCluster(), spec(**changes)
    create(layout, study)
    advance(layout, study, cluster)
    return cluster, study


def states(layout: StudyLayout) -> list[TrialState]:
    return [trial.state for trial in read_history(layout).trials]


def params_of(layout: StudyLayout) -> list[dict]:
    return [dict(t.params) for t in read_history(layout).trials]


def new_layout(root: Path) -> StudyLayout:
    return StudyLayout(root / "runs" / "fake")
