"""Resolves a study file: writes everything that must not change later into its spec, and chooses its backend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hposlurm.backend import Backend, Capacity, SimulatedCapacity, capacity_of
from hposlurm.decisions import is_refill, trials_per_wave
from hposlurm.errors import BackendError, SpecError
from hposlurm.records.find import in_utf8
from hposlurm.trial import Objective

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec

#: The suffix of the name of every simulated study, so that it never replaces the real one.
SIMULATED = "-simulated"
# sbatch may be installed on a machine that belongs to no cluster
_WITHOUT_CLUSTER = " (there is an sbatch; --backend local runs the study on this machine without a cluster)"


@dataclass(frozen=True, slots=True)
class Resolved:
    """A study, ready to launch."""

    spec: StudySpec
    #: Its backend, or the size of its simulated cluster.
    capacity: Backend | SimulatedCapacity
    #: The checks that were not possible.
    notes: tuple[str, ...] = ()


def read_study(
    file: Path,
    *,
    overlays: Sequence[Path] = (),
    settings: Sequence[str] = (),
    search_space: Path | None = None,
    launched: StudySpec | None = None,
) -> Resolved:
    """Reads a study file with its overlays (see `spec.load`), and resolves it.

    For a study that is launched already, `launched` is its spec: what the file leaves out and the launch decided stays.
    Raises SpecError with all problems of the file, or with all problems that the backend finds.
    """
    from hposlurm.spec import load

    spec = load(file, overlays=overlays, settings=settings, search_space=search_space)
    if spec.backend == "simulated" and not spec.name.endswith(SIMULATED):
        settings = [*settings, f"name={spec.name}{SIMULATED}"]
        spec = load(file, overlays=overlays, settings=settings, search_space=search_space)
    if launched is not None:
        explicit = load(file, overlays=overlays, settings=settings, search_space=search_space, launched=True)
        spec = _as_launched(spec, launched)
        spec = spec.model_copy(update={"objectives": _objectives(spec, explicit, launched)})
    return resolve(spec, str(file))


def _objectives(spec: StudySpec, explicit: StudySpec, launched: StudySpec) -> tuple[Objective, ...]:
    """Returns the objectives of `spec`; which report counts stays as launched where the file does not say it.

    `explicit` is the same file as one of a launched study is read, in which another report counts by default.
    """
    kept = {objective.metric: objective.report for objective in launched.objectives}
    pairs = zip(spec.objectives, explicit.objectives, strict=True)
    return tuple(o if o == e else replace(o, report=kept.get(o.metric, o.report)) for o, e in pairs)


def _as_launched(spec: StudySpec, launched: StudySpec) -> StudySpec:
    """Returns `spec` with what `resolve` wrote into the launched one where the file does not say it."""
    waves, kept, trial = spec.waves, launched.waves, spec.trial
    seed = launched.trial.seed if trial.seed is None else trial.seed
    fixed = {"workdir": trial.workdir or launched.trial.workdir, "seed": seed}
    size = {name: getattr(waves, name) or getattr(kept, name) for name in ("size", "max_concurrent")}
    return spec.model_copy(
        update={
            "backend": launched.backend if spec.backend == "auto" else spec.backend,
            "trial": trial.model_copy(update=fixed),
            "waves": waves.model_copy(update=size),
        }
    )


def resolve(spec: StudySpec, source: str) -> Resolved:
    """Chooses the backend and freezes every value that depends on the place and the time of the launch.

    `source` names the spec in messages. Raises SpecError with the problems that the backend finds.
    """
    is_chosen = spec.backend == "auto"
    capacity = capacity_of(spec.backend)
    if spec.backend == "simulated" and not spec.name.endswith(SIMULATED):  # one that was made in Python
        spec = spec.model_copy(update={"name": f"{spec.name}{SIMULATED}"})
    spec = _frozen(spec, capacity)
    try:
        problems = capacity.problems(spec)
    except BackendError as error:
        note = f"{error}; the cluster's resources were not checked"
        return Resolved(spec, capacity, (f"{note}{_WITHOUT_CLUSTER if is_chosen else ''}",))
    if problems:
        raise SpecError(source, problems)
    return Resolved(spec, capacity)


def _command_seed(spec: StudySpec) -> int | str:
    """Returns `trial.seed` as a value that a later change of `search.seed` does not change."""
    return "trial" if spec.command_seed is None else spec.command_seed


def _frozen(spec: StudySpec, capacity: Capacity) -> StudySpec:
    """Returns the spec with the backend, the working directory and the wave size written in.

    The suggestions must not depend on how many trials another machine, or this one tomorrow, can run at once.
    """
    workdir = str(in_utf8(Path(spec.trial.workdir or ".").absolute()))
    trial = spec.trial.model_copy(update={"workdir": workdir, "seed": _command_seed(spec)})
    size = capacity.wave_size(spec)
    is_by_slots = trials_per_wave(spec, size) == size and trials_per_wave(spec, size + 1) == size + 1
    changes = {"max_concurrent" if is_refill(spec) else "size": size} if is_by_slots else {}
    waves = spec.waves.model_copy(update=changes)
    return spec.model_copy(update={"backend": capacity.name, "trial": trial, "waves": waves})
