"""Judges a study's chain by the queue: does it continue by itself, and which of its jobs wait for a person?"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hposlurm.backend import DRIVER_ENDED, NEVER_SATISFIED, ElementState
from hposlurm.backend.reasons import DEPENDENCY, asks_too_much, release_advice
from hposlurm.records.jobs import WaveJobs, read_jobs, wave_token
from hposlurm.records.layout import StudyLayout, WaveLayout
from hposlurm.records.plan import WavePlan, bound, read_plan
from hposlurm.trial import JobState

#: The state of a job that was queried and that the queue does not know (any more). Other UNKNOWN jobs may be alive.
GONE = ElementState(JobState.UNKNOWN, "not in the queue")

# seconds; longer than any submission takes from its record to the release of its jobs
_RELEASE_S = 120
# seconds; longer than Slurm takes to notice that the jobs of a dependency have ended
_START_S = 120


@dataclass(frozen=True, slots=True)
class StuckJob:
    """A job that waits until a person acts."""

    job_id: str
    #: None for the planner, and for an element that has no trial yet
    trial: int | None
    #: the reason that the queue gives
    reason: str
    #: the command that helps
    advice: str


def why_broken(layout: StudyLayout, plan: WavePlan, queue: Mapping[str, ElementState]) -> str | None:
    """Returns why no wave will follow `plan` by itself; None if one will, or if `queue` is about another wave."""
    wave = layout.wave(plan.wave)
    jobs = read_jobs(wave)
    if jobs is None or any(job_id not in queue for job_id in queried_jobs(jobs, plan)):
        return None
    others = [*later_planners(layout, plan), *earlier_planners(layout, plan)]
    if any(planner in queue and not _is_over(queue[planner]) for planner in others):
        return None  # that planner makes up for the step that the wave's own planner left out
    if _was_never_released(wave):
        return f"the submission of wave {plan.wave} was interrupted: its jobs are held"
    runs = any(not _is_over(queue[job_id]) for job_id in queried_jobs(jobs, plan) if job_id != jobs.planner)
    if jobs.planner is None:
        return None if runs else "none of its jobs is left in the queue"
    planner = queue[jobs.planner]
    if planner.detail == NEVER_SATISFIED:
        return f"its planner (job {jobs.planner}) will never start ({NEVER_SATISFIED})"
    if not _is_over(planner):
        return None
    if not runs:
        return "none of its jobs is left in the queue"
    ended = planner.detail if planner == GONE else f"{planner.state}"
    return f"wave {plan.wave} is in the queue, but its planner (job {jobs.planner}) is {ended}: no wave would follow"


def why_blocked(layout: StudyLayout, plan: WavePlan, queue: Mapping[str, ElementState], ended_at: float) -> str | None:
    """Returns why the planner of a wave that ended at `ended_at` does not start.

    None if it will, or elements still run.
    """
    jobs = read_jobs(layout.wave(plan.wave))
    if jobs is None or jobs.planner is None or jobs.is_late or time.time() < ended_at + _START_S:
        return None
    if any(not _is_over(queue.get(job_id, GONE)) for job_id in queried_jobs(jobs, plan) if job_id != jobs.planner):
        return None
    planner = queue.get(jobs.planner, GONE)
    if planner.state is not JobState.PENDING or planner.detail != DEPENDENCY:
        return None
    its = f"its planner (job {jobs.planner})"
    return f"wave {plan.wave} has ended, but {its} waits for an earlier planner that does not end"


def stuck_jobs(
    layout: StudyLayout, plan: WavePlan, queue: Mapping[str, ElementState], handle: str
) -> tuple[StuckJob, ...]:
    """Returns the wave's held jobs with advice; none during its submission, which holds all of them."""
    wave = layout.wave(plan.wave)
    jobs = read_jobs(wave)
    if jobs is None or not wave.released.exists():
        return ()
    held: dict[str, tuple[str, str]] = {}
    for job_id in queried_jobs(jobs, plan):
        state = queue.get(job_id, GONE)
        if state.state is JobState.PENDING and (advice := release_advice(state.detail, job_id)):
            held[job_id] = state.detail, advice
    runs = bound(wave, read_plan(wave)) if held else {}  # `plan` may be without trials that are over
    trials = {jobs.element(index): assignment.trial for index, assignment in runs.items()}
    found = []
    for job_id, (reason, advice) in held.items():
        trial = trials.get(job_id)
        drop = "" if trial is None else f", or cancel the trial: hposlurm cancel {handle} {trial}"
        found.append(StuckJob(job_id, trial, reason, advice + drop))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class QueueView:
    """Counts the jobs of the waves in flight that the queue knows."""

    #: the number of elements in each state
    elements: Mapping[JobState, int]
    #: the number of pending elements by the reason that the queue gives
    waiting: Mapping[str, int]
    #: None if there is no planner, or the queue does not know it
    planner: JobState | None = None


def queue_view(layout: StudyLayout, plans: Sequence[WavePlan], queue: Mapping[str, ElementState]) -> QueueView:
    """Returns the queue's answer in numbers; jobs that are unknown or ended with their driver are left out."""
    submitted = [(jobs, plan) for plan in plans if (jobs := read_jobs(layout.wave(plan.wave)))]
    mine = {job_id for jobs, plan in submitted for job_id in queried_jobs(jobs, plan)}
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
    """Returns the reasons for waiting that do not disappear by themselves, each with advice."""
    fix = f"hposlurm cancel {handle}; hposlurm resume {handle} --set"
    return {
        reason: f"no job with such a request can start: {fix} {key}=…"
        for reason in waiting
        if (key := asks_too_much(reason))
    }


def queried_jobs(jobs: WaveJobs, plan: WavePlan) -> list[str]:
    """Returns the job ids of a wave to query: each planned element, and the planner if there is one."""
    elements = [job_id for i in range(plan.size) if (job_id := jobs.element(i))]
    return [*elements, *([jobs.planner] if jobs.planner else [])]


def later_planners(layout: StudyLayout, plan: WavePlan) -> list[str]:
    """Returns the planners of the waves that are already submitted after this one (driver: chain)."""
    found: list[str] = []
    index = plan.wave + 1
    while jobs := read_jobs(layout.wave(index)):
        found += [jobs.planner] if jobs.planner else []
        index += 1
    return found


def earlier_planners(layout: StudyLayout, plan: WavePlan) -> list[str]:
    """Returns the planners of the waves that were in flight when this one was planned."""
    found = (read_jobs(layout.wave(wave)) for wave in plan.in_flight)
    return [jobs.planner for jobs in found if jobs and jobs.planner]


def _is_over(found: ElementState) -> bool:
    return found.state.is_terminal or found == GONE


def interrupted_submission(layout: StudyLayout) -> str:
    """Returns the token of the last wave if its submission did not come to its end; "" if it did, or may still."""
    waves = layout.waves()
    wave = layout.wave(waves[-1]) if waves else None
    claims = wave.intents() if wave is not None and not wave.jobs.exists() else []
    if wave is None or not claims or time.time() - claims[-1].stat().st_mtime <= _RELEASE_S:
        return ""
    return wave_token(wave)


def _was_never_released(wave: WaveLayout) -> bool:
    return not wave.released.exists() and time.time() - wave.jobs.stat().st_mtime > _RELEASE_S
