"""The size of the virtual cluster of a simulated study. Such a study has no jobs.

`hposlurm.simulation` runs it from the first wave to its end, in virtual time and in one process. Nothing of it is ever
submitted, found in a queue or awaited.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hposlurm.errors import Problem

if TYPE_CHECKING:
    from hposlurm.backend.base import Script, WaveRequest
    from hposlurm.spec import StudySpec


class SimulatedCapacity:
    """The capacity of the virtual cluster."""

    name = "simulated"
    is_foreground = True

    def problems(self, spec: StudySpec) -> list[Problem]:
        wanted, there = self.gpus(spec), _gpus(spec)
        if wanted > there:
            message = f"a trial requests {wanted} GPUs, but the simulated cluster has {there}"
            return [Problem("simulation.gpus", message, f"--gpus {wanted} or more")]
        if not wanted and spec.ends_by == {"gpu_hours"}:
            message = "trials without GPUs would never use up the budget, and nothing else ends the study"
            return [Problem("budget.gpu_hours", message, "set resources.gpus_per_node or budget.n_trials")]
        return []

    def wave_size(self, spec: StudySpec) -> int:
        slots = _gpus(spec) // max(1, self.gpus(spec))
        return max(1, min(slots, spec.waves.max_concurrent or slots))

    def gpus(self, spec: StudySpec) -> int:
        return spec.resources.nodes * spec.resources.gpus_per_node

    def scripts(self, request: WaveRequest) -> list[Script]:  # noqa: ARG002
        return []


def _gpus(spec: StudySpec) -> int:
    return spec.simulation.gpus if spec.simulation else 0
