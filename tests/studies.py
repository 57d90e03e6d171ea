"""Builds study directories as the planner and the workers leave them: plans, job records, journals, logs."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hposlurm.decisions import needed_of
from hposlurm.publish import Published, publish_files
from hposlurm.records.assignment import Assignment, Settlement
from hposlurm.records.history import History, read_history
from hposlurm.records.layout import StudyLayout
from hposlurm.records.plan import WavePlan, record_plan
from hposlurm.spec import StudySpec, load

#: Epoch second at which every built study begins; trial n starts n seconds later.
BEGIN = 1_700_000_000.0

SPEC = """\
name: {name}
tags: {{project: tests}}
backend: local
objectives:
  - {{name: eval_loss, direction: minimize}}
parameters:
  bs: {{type: categorical, choices: [1, 2]}}
  lr: {{type: float, min: 1.0e-6, max: 1.0, log: true}}
search: {{algorithm: random, seed: 1}}
budget: {{n_trials: {n_trials}}}
trial:
  command: "echo {{{{ lr }}}} {{{{ bs }}}}"
"""


def make_study(runs: Path, name: str = "demo", n_trials: int = 12, spec: str = SPEC) -> StudyLayout:
    """A study directory with its frozen spec and nothing else."""
    layout = StudyLayout(runs / name)
    layout.root.mkdir(parents=True)
    layout.spec().write_text(spec.format(name=name, n_trials=n_trials))
    return layout


def spec_publishing(layout: StudyLayout, *names: str) -> StudySpec:
    """The study's frozen spec, but published as `names` say; without names as it says itself."""
    settings = [f"publish=[{', '.join(names)}]"] if names else []
    return load(layout.spec(), settings=settings, frozen=True)


def publish(layout: StudyLayout, *names: str, history: History | None = None) -> None:
    """Writes the local files of `history`, or of what the study directory holds now."""
    spec = spec_publishing(layout, *names)
    known = read_history(layout, needed=needed_of(spec)) if history is None else history
    assert publish_files(Published(layout, spec, known)) == ()


def changed_database(path: Path) -> sqlite3.Connection:
    """A connection that may write a published database, which SQLite itself only reads."""
    path.chmod(0o600)
    data = bytearray(path.read_bytes())
    data[18:19] = b"\1"
    path.write_bytes(data)
    return sqlite3.connect(path)


def assignment(number: int, params: Mapping[str, Any] | None = None) -> Assignment:
    params = {"bs": 1 + number % 2, "lr": (number + 1) * 1e-5} if params is None else params
    return Assignment(number, params, f"{number:08x}", seed=number, command=f"echo {number}")


def add_wave(
    layout: StudyLayout,
    trials: Sequence[int | Assignment],
    *,
    settled: Sequence[Settlement] = (),
    submitted: bool = True,
    **changes: Any,
) -> WavePlan:
    """Records the next wave with these trials, and (unless told otherwise) its jobs."""
    wave = len(layout.waves())
    values: dict[str, Any] = {
        "study": layout.root.name,
        "created_at": BEGIN + wave,
        "spec": "study.yaml",
        "seed": 1,
        "objectives": ("eval_loss",),
        "workdir": "/tmp",
        "gpus": 2,
        **changes,
    }
    assignments = tuple(assignment(t) if isinstance(t, int) else t for t in trials)
    plan = WavePlan(wave=wave, assignments=assignments, settled=tuple(settled), **values)
    record_plan(layout.wave(wave), plan)
    if submitted and trials:
        arrays = [{"job_id": array_id(wave), "offset": 0, "count": len(trials)}]
        jobs = {"arrays": arrays, "backend": "slurm", "submitted_at": BEGIN + wave}
        layout.wave(wave).jobs.write_text(json.dumps(jobs))
        layout.wave(wave).planner_job.write_text(json.dumps({"job_id": str(100 * (wave + 1) + 50)}))
    return plan


def array_id(wave: int) -> str:
    """The job id of the array of a wave; its planner has 50 more."""
    return str(100 * (wave + 1))


def start(trial: int, attempt: int = 0, wave: int = 0, index: int | None = None, **changes: Any) -> dict[str, Any]:
    index = trial if index is None else index
    job_id = f"{array_id(wave)}_{index}"
    return {
        "kind": "start",
        "t": BEGIN + 100 * wave + trial,
        "trial": trial,
        "attempt": attempt,
        "wave": wave,
        "index": index,
        "host": f"n{trial % 4}",
        "job_id": job_id,
        "restart": 0,
        "gpus": 2,
        "gpu_ids": "0,1",
        "git_commit": None,
        "resumed_from": None,
        "pid": 1,
        "log": f"waves/{wave:04d}/logs/{job_id}_0_log.out",
        **changes,
    }


def report(step: int, t: float = BEGIN, /, **metrics: Any) -> dict[str, Any]:
    return {"kind": "report", "t": t, "step": step, "metrics": metrics}


def end(outcome: str, t: float = BEGIN + 3600, **changes: Any) -> dict[str, Any]:
    blank = {"reason": "", "exit_code": 0, "metrics": {}, "tail": []}
    return {"kind": "end", "t": t, "outcome": outcome, **blank, **changes}


def completed(trial: int, loss: float, attempt: int = 0, wave: int = 0, *, steps: int = 1, **more: Any) -> list[dict]:
    """Records of an attempt that completed an hour after it started."""
    first = start(trial, attempt, wave)
    t = first["t"]
    reports = [report(s, t + s, eval_loss=loss + (steps - s) / 10, **more) for s in range(1, steps + 1)]
    return [first, *reports, end("complete", t + 3600, metrics={"eval_loss": loss, **more})]


def failed(trial: int, attempt: int = 0, wave: int = 0, **changes: Any) -> list[dict]:
    """Records of an attempt whose command failed after a minute."""
    first = start(trial, attempt, wave)
    said = {"reason": "the command ended with exit status 1", "exit_code": 1, "tail": ["Traceback", "ValueError: no"]}
    return [first, end("fail", first["t"] + 60, **{**said, **changes})]


def write_journal(layout: StudyLayout, trial: int, records: Sequence[Mapping[str, Any]], attempt: int = 0) -> Path:
    """Appends records to the journal of an attempt."""
    path = layout.trial(trial).journal(attempt)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.writelines(json.dumps(record).encode() + b"\n" for record in records)
    return path


def write_log(layout: StudyLayout, trial: int, text: str, wave: int = 0, stream: str = "out") -> Path:
    """Writes the log of a trial's array element."""
    path = layout.wave(wave).element_log(array_id(wave), trial, stream)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def study_of_completed(runs: Path, count: int, name: str = "demo", *, steps: int = 1, **more: Any) -> StudyLayout:
    """A study of one wave whose trials all completed; trial n has the loss 1 + (7 n mod count) / count."""
    layout = make_study(runs, name, n_trials=count)
    add_wave(layout, range(count))
    for number in range(count):
        loss = 1 + (7 * number % count) / count
        write_journal(layout, number, completed(number, loss, steps=steps, **more))
    return layout
