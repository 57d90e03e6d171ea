"""The simulated side of the Backend seam: how large the virtual cluster is. It has no jobs.

A simulated study is run from its first wave to its end by `hposlurm.simulation`, in virtual time and in one process;
nothing of it is ever submitted, found in a queue or waited for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn

from hposlurm.backend.base import ElementState, Script, Usage, WaveRequest
from hposlurm.backend.identity import OwnJob
from hposlurm.errors import BackendError, Problem
from hposlurm.records.jobs import ArrayJob

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec


class SimulatedBackend:
    """Says what fits onto the virtual cluster, and refuses to submit anything to it."""

    name = "simulated"
    is_foreground = True

    def problems(self, spec: StudySpec) -> list[Problem]:
        wanted, there = self.gpus(spec), _gpus(spec)
        if wanted > there:
            message = f"{wanted} GPUs for a trial, but the simulated cluster has {there}"
            return [Problem("simulation.gpus", message, f"--gpus {wanted} or more")]
        budget = spec.budget
        ends = budget.n_trials or budget.wall_time_min or budget.patience or spec.search.pair[0] == "grid"
        if budget.gpu_hours is not None and not wanted and not ends:
            message = "trials without GPUs would never use it up, and nothing else ends the study"
            return [Problem("budget.gpu_hours", message, "set resources.gpus_per_node or budget.n_trials")]
        return []

    def wave_size(self, spec: StudySpec) -> int:
        slots = _gpus(spec) // max(1, self.gpus(spec))
        return max(1, min(slots, spec.waves.max_concurrent or slots))

    def gpus(self, spec: StudySpec) -> int:
        return spec.resources.nodes * spec.resources.gpus_per_node

    def nodes(self, spec: StudySpec) -> tuple[str, ...]:  # noqa: ARG002
        return ()

    def scripts(self, request: WaveRequest) -> list[Script]:  # noqa: ARG002
        return []

    def submit(self, request: WaveRequest) -> list[ArrayJob]:
        self._refuse(request)

    def submit_planner(self, request: WaveRequest, arrays: Sequence[ArrayJob]) -> str | None:  # noqa: ARG002
        self._refuse(request)

    def sweep(self, request: WaveRequest, arrays: Sequence[ArrayJob]) -> None:
        """There is nothing to sweep."""

    def release(self, arrays: Sequence[ArrayJob]) -> None:
        """There is nothing to release."""

    def cancel(self, job_ids: Sequence[str]) -> None:
        """There is nothing to cancel."""

    def states(self, job_ids: Sequence[str]) -> Mapping[str, ElementState]:  # noqa: ARG002
        return {}

    def usage(self, array_ids: Sequence[str]) -> Mapping[str, Sequence[Usage]] | None:  # noqa: ARG002
        return None

    def own_job(self) -> OwnJob | None:
        return None

    def run_again_later(self) -> bool:
        return False

    def wait(self, arrays: Sequence[ArrayJob]) -> None:
        """There is nothing to wait for."""

    def _refuse(self, request: WaveRequest) -> NoReturn:
        name = request.spec.name
        raise BackendError(f"{name} is simulated: it has no jobs, and only `hposlurm launch` runs such a study, whole")


def _gpus(spec: StudySpec) -> int:
    return spec.simulation.gpus if spec.simulation else 0
