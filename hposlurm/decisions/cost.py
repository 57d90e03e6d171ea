"""Bounds the cost of a study before it is launched: GPU hours and disk in the worst case."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hposlurm.decisions.extent import jobs_wanted, trials_wanted
from hposlurm.decisions.modes import trials_in_flight, trials_per_wave, waves_in_flight
from hposlurm.decisions.walltime import may_differ, stage_limits
from hposlurm.errors import RequestError
from hposlurm.records.plan import WavePlan
from hposlurm.search.budget import most_gpu_hours

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec


#: Sets how many GPU hours a study may cost without confirmation, unless its own file does.
CONFIRM_VARIABLE = "HPOSLURM_CONFIRM_GPU_HOURS"
_CONFIRM_DEFAULT = 1000.0


@dataclass(frozen=True, slots=True)
class Cost:
    """GPU hours if every job runs to its time limit. Runs that the cluster interrupts are retried for free."""

    #: of one trial
    trial: float
    #: of all trials of wave 0
    first_wave: float
    #: of the whole study with all attempts that retries allow; None if it has no bound
    study: float | None
    #: (step, minutes of the job that trains up to it) for each step at which a trial may pause, and for the last one
    stages: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class CostQuestion:
    """A study that is launched only if a person confirms it."""

    #: its name
    study: str
    #: what it may cost
    cost: Cost
    #: the GPU hours up to which no confirmation is needed
    limit: float


def cost_question(spec: StudySpec, cost: Cost) -> CostQuestion | None:
    """Returns the question to ask before the study is launched; None if it is small enough.

    Raises RequestError if the environment's limit is not a number of GPU hours.
    """
    limit = _limit(spec)
    is_small = cost.study is not None and cost.study <= limit
    return None if is_small else CostQuestion(spec.name, cost, limit)


def _limit(spec: StudySpec) -> float:
    """Returns the study's own limit, else the environment's, else the default."""
    if spec.budget.confirm_gpu_hours is not None:
        return spec.budget.confirm_gpu_hours
    given = os.environ.get(CONFIRM_VARIABLE, "")
    try:
        limit = float(given) if given else _CONFIRM_DEFAULT
    except ValueError:
        limit = -1.0
    if not limit >= 0:
        raise RequestError(f"{CONFIRM_VARIABLE} must be a number of GPU hours, at least 0, not {given!r}")
    return limit


def study_cost(spec: StudySpec, first: WavePlan, *, wave_size: int, gpus: int) -> Cost:
    """Returns the cost of `spec` where one element is given `gpus` GPUs and `first` is the first wave."""
    whole_min = spec.resources.time_min
    size = trials_per_wave(spec, wave_size)
    stages = stage_limits(spec)
    if not may_differ(spec, max(size, len(first.assignments)), wave_size):
        stages = [(step, whole_min) for step, _ in stages]
    trial_min = sum(minutes for _, minutes in stages) or whole_min
    # of a population each job is counted, one per part of the training; else each trial, with all its parts
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


def disk_gb(spec: StudySpec, wave: int) -> float | None:
    """Returns the GB that checkpoints use at most, if a wave has `wave` trials; None if unknown or unbounded.

    Checkpoints are deleted for certain only when a wave has ended, and a wave in refill mode has many trials.
    """
    one, keep = spec.trial.checkpoint_gb, spec.trial.keep_checkpoints
    trials = trials_wanted(spec)
    counts = [] if trials is None else [trials]
    if keep is not None and not _leaves_paused(spec):
        counts.append(keep + trials_in_flight(spec, wave))
    return None if one is None or not counts else one * min(counts)


def _leaves_paused(spec: StudySpec) -> bool:
    """True if any trial may be promoted at any time, so that all paused trials keep their checkpoints."""
    search = spec.search
    has_rungs = search.pruner_traits.rungs == "always" or (search.has_rungs and len(spec.objectives) == 1)
    return search.pruner_traits.promotes_any_time and has_rungs
