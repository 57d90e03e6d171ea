"""What a study may cost before it is launched: GPU hours in the worst case."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hposlurm.decisions import jobs_wanted, may_differ, stage_limits, trials_per_wave, waves_in_flight
from hposlurm.records.plan import WavePlan
from hposlurm.search.budget import most_gpu_hours

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec


@dataclass(frozen=True, slots=True)
class Cost:
    """GPU hours if every job runs to its time limit: of one trial, of the first wave, and of the whole study.

    `stages` has for each step at which a trial may pause, and for the last, the minutes of the job that trains there.

    `study` has all attempts that retries allow, and is None if nothing bounds it. Runs that the cluster interrupts are
    tried again for free and not in it.
    """

    trial: float
    first_wave: float
    study: float | None
    stages: tuple[tuple[int, int], ...] = ()


def study_cost(spec: StudySpec, first: WavePlan, *, wave_size: int, gpus: int) -> Cost:
    """The cost of `spec` where one element is given `gpus` GPUs and `first` is the first wave."""
    whole_min = spec.resources.time_min
    size = trials_per_wave(spec, wave_size)
    stages = stage_limits(spec)
    if not may_differ(spec, max(size, len(first.assignments)), wave_size):
        stages = [(step, whole_min) for step, _ in stages]
    trial_min = sum(minutes for _, minutes in stages) or whole_min
    # a population's jobs are counted, one for each part of the training; else trials, each with all its parts
    counted_min = max(minutes for _, minutes in stages) if spec.search.in_generations else trial_min
    whole_s = 60.0 * whole_min
    saved_s = sum(whole_s - a.time_limit_s for a in first.assignments if a.time_limit_s is not None)
    first_s = first.size * whole_s - saved_s
    most = most_gpu_hours(
        spec.budget,
        jobs=jobs_wanted(spec),
        attempts=spec.trial.retries + 1,
        element_gpu_hours=gpus * counted_min / 60,
        time_limit_s=60.0 * counted_min,
        size=size * waves_in_flight(spec, wave_size),
    )
    return Cost(gpus * trial_min / 60, gpus * first_s / 3600, most, tuple(stages))
