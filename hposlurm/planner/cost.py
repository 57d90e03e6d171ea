"""What a study may cost before it is launched: GPU hours in the worst case."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hposlurm.assignments import jobs_wanted, trials_per_wave
from hposlurm.search.budget import most_gpu_hours

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec


@dataclass(frozen=True, slots=True)
class Cost:
    """GPU hours if every job runs to its time limit: of one trial's job, of the first wave, and of the whole study.

    `study` has all attempts that retries allow, and is None if nothing bounds it. Runs that the cluster interrupts are
    tried again for free and not in it.
    """

    element: float
    first_wave: float
    study: float | None


def study_cost(spec: StudySpec, *, first_wave: int, wave_size: int, gpus: int) -> Cost:
    """The cost of `spec` where one element is given `gpus` GPUs and the first wave has `first_wave` elements."""
    element = gpus * spec.resources.time_min / 60
    most = most_gpu_hours(
        spec.budget,
        jobs=jobs_wanted(spec),
        attempts=spec.trial.retries + 1,
        element_gpu_hours=element,
        time_limit_s=spec.resources.time_min * 60,
        size=trials_per_wave(spec, wave_size),
    )
    return Cost(element, first_wave * element, most)
