"""Builds the environment of a trial's command: without what describes the worker's step, with what the trial needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hposlurm.records.assignment import Assignment
from hposlurm.records.layout import StudyLayout
from hposlurm.records.plan import WavePlan
from hposlurm.space.names import variable
from hposlurm.trial import param_text
from hposlurm.worker.earlier import Earlier
from hposlurm.worker.environment_leaks import for_command
from hposlurm.worker.facts import Facts
from hposlurm.worker.gpumemory import error_file
from hposlurm.worker.process import MARKER


@dataclass(frozen=True, slots=True)
class Place:
    """One attempt: its study, plan and assignment, and where its node-local files lie."""

    study: StudyLayout
    plan: WavePlan
    assignment: Assignment
    attempt: int
    facts: Facts
    resumed_from: str | None
    scratch: Path
    earlier: Earlier = field(default_factory=Earlier)

    @property
    def metrics_file(self) -> Path:
        return self.scratch / "metrics.jsonl"


def environment(environ: Mapping[str, str], place: Place, extensions: Path | None) -> dict[str, str]:
    """Returns the command's whole environment. What describes its job, and what slurm.setup exported, stays.

    PyTorch extensions go where the user's variables say, else to `extensions`. Temporary files and Triton's cache are
    per attempt.
    """
    result = for_command(environ)
    result["TMPDIR"] = str(place.scratch / "tmp")
    for name, path in (("TRITON_CACHE_DIR", "triton"), ("TORCH_EXTENSIONS_DIR", extensions or "torch_extensions")):
        result[name] = result.get(name) or str(place.scratch / path)
    result["PYTHONUNBUFFERED"] = "1"
    result["PET_SIGNALS_TO_HANDLE"] = _handled_by_torchrun(place.plan.stop_signal)
    result["TORCHELASTIC_ERROR_FILE"] = str(error_file(place.scratch))
    return {**result, **_job(place), **_trial(place)}


def _handled_by_torchrun(stop_signal: str | None) -> str:
    """Returns the signals that torchrun passes on to its ranks, which it kills 30 s later.

    SIGTERM and SIGUSR2 are ignored (see inbox.shield), unless they are the command's stop signal: Slurm sends them to
    torchrun as well, which would die of them. Another stop signal goes straight to the ranks.
    """
    return f"SIGQUIT,SIG{stop_signal}" if stop_signal in ("TERM", "USR2") else "SIGQUIT"


def _job(place: Place) -> dict[str, str]:
    facts = place.facts
    return {
        "HPOSLURM_JOB_ID": facts.job_id,
        "HPOSLURM_HOST": facts.host,
        "HPOSLURM_GPUS": str(facts.gpus),
        "HPOSLURM_GPU_IDS": facts.gpu_ids,
    }


def _trial(place: Place) -> dict[str, str]:
    assignment = place.assignment
    layout = place.study.trial(assignment.trial)
    reported = place.earlier.step(place.plan.objectives)
    params = {f"HPOSLURM_PARAM_{variable(name)}": param_text(value) for name, value in assignment.params.items()}
    return {
        **params,
        "HPOSLURM_STUDY": place.plan.study,
        "HPOSLURM_STUDY_DIR": str(place.study.root),
        "HPOSLURM_TRIAL": str(assignment.trial),
        "HPOSLURM_ATTEMPT": str(place.attempt),
        "HPOSLURM_WAVE": str(place.plan.wave),
        "HPOSLURM_TRIAL_DIR": str(layout.root),
        "HPOSLURM_PARAMS_FILE": str(layout.record),
        MARKER: str(place.metrics_file),
        "HPOSLURM_REQUEST_FILE": str(layout.request),
        "HPOSLURM_CHECKPOINT_DIR": str(layout.checkpoints),
        "HPOSLURM_RESUME_FROM": place.resumed_from or "",
        "HPOSLURM_REPORTED_STEP": "" if reported is None else str(reported),
        "HPOSLURM_FROM_STEP": str(assignment.from_step),
        "HPOSLURM_MAX_STEP": "" if assignment.to_step is None else str(assignment.to_step),
        "HPOSLURM_MAX_RESOURCE": "" if place.plan.max_resource is None else str(place.plan.max_resource),
        "HPOSLURM_SEED": str(assignment.seed if place.plan.command_seed is None else place.plan.command_seed),
        "HPOSLURM_TRIAL_SEED": str(assignment.seed),
    }
