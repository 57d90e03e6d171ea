"""What the queue says of a study's chain: whether it goes on by itself, and which of its jobs wait for a person."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hposlurm.backend import DRIVER_ENDED, NEVER_SATISFIED, ElementState
from hposlurm.backend.reasons import DEPENDENCY, asks_too_much, release_advice
from hposlurm.records.jobs import WaveJobs, read_jobs
from hposlurm.records.layout import StudyLayout, WaveLayout
from hposlurm.records.plan import WavePlan, bound
from hposlurm.trial import JobState

#: Of a job that was asked for and that the queue does not know (any more); other unknowns may well be alive.
GONE = ElementState(JobState.UNKNOWN, "not in the queue")

# Longer than any submission takes between its record and the release of the jobs.
_RELEASE_S = 120
# Longer than Slurm takes to notice that what a job depended on has ended.
_START_S = 120


@dataclass(frozen=True, slots=True)
class StuckJob:
    """A job that waits until a person does something; `trial` None is the planner, or an element that has none yet."""

    job_id: str
    trial: int | None
    reason: str
    advice: str


def why_broken(layout: StudyLayout, plan: WavePlan, queue: Mapping[str, ElementState]) -> str | None:
    """Why nothing will follow the wave by itself; None if something will, or the queue was asked about another wave."""
    wave = layout.wave(plan.wave)
    jobs = read_jobs(wave)
    if jobs is None or any(job_id not in queue for job_id in asked_for(jobs, plan)):
        return None
    others = [*later_planners(layout, plan), *earlier_planners(layout, plan)]
    if any(planner in queue and not _is_over(queue[planner]) for planner in others):
        return None  # it takes the step that the wave's own one left
    if _was_never_released(wave):
        return f"the submission of wave {plan.wave} was interrupted: its jobs are held"
    runs = any(not _is_over(queue[job_id]) for job_id in asked_for(jobs, plan) if job_id != jobs.planner)
    if jobs.planner is None:
        return None if runs else "none of its jobs is left in the queue"
    planner = queue[jobs.planner]
    if planner.detail == NEVER_SATISFIED:
        return f"its planner (job {jobs.planner}) waits for ever ({NEVER_SATISFIED})"
    if not _is_over(planner):
        return None
    if not runs:
        return "none of its jobs is left in the queue"
    ended = planner.detail if planner == GONE else f"{planner.state}"
    return f"wave {plan.wave} is in the queue, but its planner (job {jobs.planner}) is {ended}: nothing would follow"


def why_blocked(layout: StudyLayout, plan: WavePlan, queue: Mapping[str, ElementState], ended_at: float) -> str | None:
    """Why the planner of a wave that ended at `ended_at` does not start; None if it does, or its elements still run."""
    jobs = read_jobs(layout.wave(plan.wave))
    if jobs is None or jobs.planner is None or jobs.is_late or time.time() < ended_at + _START_S:
        return None
    if any(not _is_over(queue.get(job_id, GONE)) for job_id in asked_for(jobs, plan) if job_id != jobs.planner):
        return None
    planner = queue.get(jobs.planner, GONE)
    if planner.state is not JobState.PENDING or planner.detail != DEPENDENCY:
        return None
    return (
        f"wave {plan.wave} has ended, but its planner (job {jobs.planner}) waits for an earlier one that does not end"
    )


def stuck_jobs(
    layout: StudyLayout, plan: WavePlan, queue: Mapping[str, ElementState], handle: str
) -> tuple[StuckJob, ...]:
    """The wave's held jobs, with what to do; none while its submission goes on, which holds all of them."""
    wave = layout.wave(plan.wave)
    jobs = read_jobs(wave)
    if jobs is None or not wave.released.exists():
        return ()
    held: dict[str, tuple[str, str]] = {}
    for job_id in asked_for(jobs, plan):
        state = queue.get(job_id, GONE)
        if state.state is JobState.PENDING and (advice := release_advice(state.detail, job_id)):
            held[job_id] = state.detail, advice
    runs = bound(wave, plan) if held else {}
    trials = {jobs.element(index): assignment.trial for index, assignment in runs.items()}
    found = []
    for job_id, (reason, advice) in held.items():
        trial = trials.get(job_id)
        drop = "" if trial is None else f", or take the trial out: hposlurm cancel {handle} {trial}"
        found.append(StuckJob(job_id, trial, reason, advice + drop))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class QueueView:
    """The jobs of the waves in flight that the queue knows: how many are in which state, and why how many of them wait.

    `planner` is None where there is none, or the queue does not know it.
    """

    elements: Mapping[JobState, int]
    waiting: Mapping[str, int]
    planner: JobState | None = None


def queue_view(layout: StudyLayout, plans: Sequence[WavePlan], queue: Mapping[str, ElementState]) -> QueueView:
    """The queue's answer in numbers, without what it does not know and what ended with its driver."""
    submitted = [(jobs, plan) for plan in plans if (jobs := read_jobs(layout.wave(plan.wave)))]
    mine = {job_id for jobs, plan in submitted for job_id in asked_for(jobs, plan)}
    known = {
        job_id: found
        for job_id, found in queue.items()
        if job_id in mine and found != GONE and found.detail != DRIVER_ENDED
    }
    planners = [known.pop(jobs.planner, None) for jobs, _ in submitted if jobs.planner]
    planner = next((found for found in planners if found and not found.state.is_terminal), (planners or [None])[-1])
    pending = [found.detail for found in known.values() if found.state is JobState.PENDING]
    return QueueView(
        elements=dict(Counter(found.state for found in known.values())),
        waiting=dict(Counter(reason for reason in pending if reason not in ("", "None"))),
        planner=None if planner is None else planner.state,
    )


def too_much(waiting: Mapping[str, int], handle: str) -> dict[str, str]:
    """Those of the reasons for waiting that do not go away by themselves, with what to do."""
    mend = f"hposlurm cancel {handle}; hposlurm resume {handle} --set"
    return {
        reason: f"no job that asks for so much starts: {mend} {key}=…"
        for reason in waiting
        if (key := asks_too_much(reason))
    }


def asked_for(jobs: WaveJobs, plan: WavePlan) -> list[str]:
    """The jobs of a wave that the queue is asked about: every planned element, and the planner where there is one."""
    elements = [job_id for i in range(plan.size) if (job_id := jobs.element(i))]
    return [*elements, *([jobs.planner] if jobs.planner else [])]


def later_planners(layout: StudyLayout, plan: WavePlan) -> list[str]:
    """The planners of what was submitted behind the wave already (driver: chain)."""
    found: list[str] = []
    index = plan.wave + 1
    while jobs := read_jobs(layout.wave(index)):
        found += [jobs.planner] if jobs.planner else []
        index += 1
    return found


def earlier_planners(layout: StudyLayout, plan: WavePlan) -> list[str]:
    """The planners of the waves that were in flight when this one was planned."""
    found = (read_jobs(layout.wave(wave)) for wave in plan.in_flight)
    return [jobs.planner for jobs in found if jobs and jobs.planner]


def _is_over(found: ElementState) -> bool:
    return found.state.is_terminal or found == GONE


def _was_never_released(wave: WaveLayout) -> bool:
    return not wave.released.exists() and time.time() - wave.jobs.stat().st_mtime > _RELEASE_S
