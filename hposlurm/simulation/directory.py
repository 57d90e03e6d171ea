"""Writes a simulated study as a study directory, which every command reads like that of a real study."""

from __future__ import annotations

import os
import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hposlurm.backend import ArrayJob
from hposlurm.decisions import needed_of
from hposlurm.errors import RequestError, StudyError
from hposlurm.planner import create
from hposlurm.publish import Published, publish_files
from hposlurm.records.assignment import Assignment
from hposlurm.records.files import to_json
from hposlurm.records.history import History, read_history
from hposlurm.records.layout import StudyLayout
from hposlurm.records.permissions import make_directory, open_file
from hposlurm.records.trees import remove_tree
from hposlurm.report.simulated import Figures
from hposlurm.simulation.cluster import cluster_of
from hposlurm.simulation.function import Trainer, load_function
from hposlurm.simulation.result import Simulated
from hposlurm.simulation.run import Watch, simulate
from hposlurm.worker.claim import trial_record

if TYPE_CHECKING:
    from hposlurm.decisions import WarmStart
    from hposlurm.spec import StudySpec

_NO_FUNCTION = "{} does not say what was simulated (simulation.function)"


def trainer_of(spec: StudySpec, layout: StudyLayout, beside: Path | None = None) -> Trainer:
    """Returns the function that a study simulates; also searches the directory `beside` for it.

    Raises RequestError if there is no such function, or if the study's directory exists already.
    """
    if spec.simulation is None or spec.simulation.function is None:
        raise RequestError(_NO_FUNCTION.format(spec.name))
    if layout.root.exists() or layout.root.is_symlink():
        raise RequestError(f"{layout.root} exists already; simulate under another name (--set name=…), or remove it")
    return load_function(spec.simulation.function, beside)


def simulate_study(
    spec: StudySpec, layout: StudyLayout, trainer: Trainer, warm: WarmStart, *, watch: Watch | None = None
) -> Simulated:
    """Simulates a study on the cluster that it describes, and writes its directory atomically; see `simulate`."""
    if spec.simulation is None:
        raise RequestError(_NO_FUNCTION.format(spec.name))
    found = simulate(spec, trainer, cluster_of(spec.simulation), layout=layout, warm=warm, watch=watch)
    write_study(found, warm)
    return found


def figures_of(found: Simulated) -> Figures:
    """Returns what the study would have cost; raises RequestError if it names no function to simulate."""
    simulation = found.spec.simulation
    if simulation is None or simulation.function is None:
        raise RequestError(_NO_FUNCTION.format(found.spec.name))
    return Figures(
        function=simulation.function,
        gpus=simulation.gpus,
        mode=found.mode,
        seed=simulation.seed,
        wall_s=found.wall_s,
        busy_s=found.busy_s,
        gpu_hours=found.history.gpu_hours,
        training_share=found.training_share,
        busy_share=found.busy_share,
    )


def write_study(found: Simulated, warm: WarmStart) -> Figures:
    """Writes the study directory atomically and returns its figures.

    Raises RequestError if the directory exists already, and StudyError if a published file cannot be written.
    """
    root, figures = found.layout.root, figures_of(found)
    if found.journals is None:
        raise RequestError(f"the journals of {found.spec.name} were not kept")
    beside = StudyLayout(root.with_name(f".{root.name}.{uuid.uuid4().hex[:12]}.tmp"))
    try:
        create(beside, found.spec, warm)
        _write(beside.simulated, to_json(figures.to_json()))
        _write_waves(beside, found.history)
        _write_trials(beside, found.history, found.journals)
        # the database needs the offsets up to which the journals were read: only a history read from files has them
        if failures := publish_files(
            Published(beside, found.spec, read_history(beside, use_database=False, needed=needed_of(found.spec)))
        ):
            raise StudyError("; ".join(failures))
        if root.exists():
            raise RequestError(f"{root} exists already")
        beside.root.rename(root)
    finally:
        remove_tree(beside.root)
    return figures


def _write_waves(layout: StudyLayout, history: History) -> None:
    for plan in history.plans:
        wave = layout.wave(plan.wave)
        make_directory(wave.root)
        _write(wave.plan, to_json(plan.to_json()))
        if plan.assignments:
            array = ArrayJob(str(plan.wave + 1), 0, len(plan.assignments))
            jobs = {"arrays": [asdict(array)], "backend": "simulated", "submitted_at": plan.created_at}
            _write(wave.jobs, to_json(jobs))
            _write(wave.released, b"")


def _write_trials(
    layout: StudyLayout, history: History, journals: Mapping[tuple[int, int], Sequence[Mapping[str, Any]]]
) -> None:
    first: dict[int, tuple[int, Assignment]] = {}
    for plan in history.plans:
        for assignment in plan.assignments:
            first.setdefault(assignment.trial, (plan.wave, assignment))
    attempts: defaultdict[int, dict[int, Sequence[Mapping[str, Any]]]] = defaultdict(dict)
    for (trial, attempt), records in journals.items():
        attempts[trial][attempt] = records
    for trial, mine in attempts.items():
        place = layout.trial(trial)
        make_directory(place.root)
        wave, assignment = first[trial]
        _write(place.record, to_json(trial_record(wave, assignment)))
        for attempt, records in mine.items():
            _write(place.journal(attempt), b"".join(to_json(dict(record)) for record in records))


def _write(path: Path, data: bytes) -> None:
    """Writes a new file without fsync: no other process reads it before the whole directory gets its name."""
    with os.fdopen(open_file(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
        file.write(data)
