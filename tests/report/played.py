"""Simulated studies as directories, so that what reads directories can be shown many decisions quickly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hposlurm.records.files import to_json
from hposlurm.records.layout import StudyLayout
from hposlurm.records.plan import record_plan
from hposlurm.report.explain import Replay
from hposlurm.report.records import read_records
from hposlurm.simulation import Cluster, Simulated, simulate
from hposlurm.spec import dump
from tests.simulation.studies import study, train

RUNGS = {"min_resource": 1, "max_resource": 9}


def played(
    runs: Path,
    search: dict[str, Any],
    n_trials: int | None = 40,
    mode: Any = "barrier",
    until_s: float | None = None,
    **sections: Any,
) -> tuple[Path, Simulated]:
    """A study that was played to its end, or for so many seconds, and its directory."""
    spec = study(n_trials, search={"seed": 1, **search}, **sections)
    found = simulate(spec, train, Cluster(gpus=5), mode=mode, until_s=until_s)
    layout = StudyLayout(runs / "played")
    layout.root.mkdir(parents=True)
    layout.spec().write_text(dump(spec))
    for plan in found.history.plans:
        record_plan(layout.wave(plan.wave), plan)
    for (trial, attempt), records in (found.journals or {}).items():
        journal = layout.trial(trial).journal(attempt)
        journal.parent.mkdir(parents=True, exist_ok=True)
        journal.write_bytes(b"".join(to_json(dict(record)) for record in records))
    return layout.root, found


def replay(directory: Path) -> Replay:
    """Reads a study's records, to decide again what was decided."""
    return Replay(read_records(StudyLayout(directory)))
