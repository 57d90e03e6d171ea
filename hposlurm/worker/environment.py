"""The environment of a trial's command: what the job's launcher set is taken out, what the trial needs is put in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hposlurm.layout import StudyLayout
from hposlurm.plan import WavePlan
from hposlurm.trial import Assignment, ParamValue
from hposlurm.worker.facts import Facts
from hposlurm.worker.gpumemory import error_file
from hposlurm.worker.process import MARKER

# Left in, these make torchrun, MPI and nested sbatch calls believe that they are a part of the worker's own step
_SCRUB = ("SLURM_", "SBATCH_", "SRUN_", "PMI", "MASTER_", "TORCHELASTIC_", "HPOSLURM_PARAM_")
_SCRUB_NAMES = frozenset({"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "GROUP_WORLD_SIZE"}) | {
    "ROLE_RANK",
    "ROLE_WORLD_SIZE",
    "ROLE_NAME",
}
_KEEP = frozenset({"SLURM_CONF"})  # sites with an unusual place for it need it for every Slurm command


@dataclass(frozen=True, slots=True)
class Place:
    """One attempt: which one, of what, and where its node-local files lie."""

    study: StudyLayout
    plan: WavePlan
    assignment: Assignment
    attempt: int
    facts: Facts
    resumed_from: str | None
    scratch: Path

    @property
    def metrics_file(self) -> Path:
        return self.scratch / "metrics.jsonl"


def scrubbed(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` without what belongs to the launcher of the worker."""
    return {
        name: value
        for name, value in environ.items()
        if name in _KEEP or not (name.startswith(_SCRUB) or name in _SCRUB_NAMES)
    }


def environment(environ: Mapping[str, str], place: Place, extensions: Path | None) -> dict[str, str]:
    """The command's whole environment.

    PyTorch extensions go where the user says, else to `extensions`; temporary files and Triton's cache are per attempt.
    """
    result = scrubbed(environ)
    result["TMPDIR"] = str(place.scratch / "tmp")
    for name, path in (("TRITON_CACHE_DIR", "triton"), ("TORCH_EXTENSIONS_DIR", extensions or "torch_extensions")):
        result[name] = result.get(name) or str(place.scratch / path)
    result["PYTHONUNBUFFERED"] = "1"
    # torchrun kills its ranks 30 s after a signal that it handles; SIGTERM and SIGUSR2 are ignored, see inbox.shield
    result["PET_SIGNALS_TO_HANDLE"] = "SIGQUIT"
    result["TORCHELASTIC_ERROR_FILE"] = str(error_file(place.scratch))
    return {**result, **_job(place), **_trial(place)}


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
    params = {f"HPOSLURM_PARAM_{name}": param_text(value) for name, value in assignment.params.items()}
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
        "HPOSLURM_FROM_STEP": str(assignment.from_step),
        "HPOSLURM_MAX_STEP": "" if assignment.to_step is None else str(assignment.to_step),
        "HPOSLURM_SEED": str(assignment.seed),
    }


def param_text(value: ParamValue) -> str:
    """A parameter as text, the same as in the rendered command: true, false, null, else Python's `str`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
