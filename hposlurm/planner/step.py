"""advance(): one planner step. Safe to run at any time, by anyone, any number of times."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hposlurm import history as past
from hposlurm.backend import NEVER_SATISFIED, Backend, ElementState
from hposlurm.backend.jobs import WaveJobs
from hposlurm.errors import BackendError
from hposlurm.failpoints import fail_point
from hposlurm.history import History, read_history
from hposlurm.layout import StudyLayout
from hposlurm.plan import WavePlan, record_plan
from hposlurm.planner import chain, submission
from hposlurm.planner.claim import token_of
from hposlurm.planner.decide import next_plan
from hposlurm.planner.retention import tidy
from hposlurm.planner.settle import crashed, element_ids, last_words, settle, settle_late, unfinished, unsettled
from hposlurm.publish import publish
from hposlurm.trial import JobState, Settlement

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec

# How long an element may be unknown to the cluster, without a record, before it counts as lost: NFS may hide a new file
# for a minute, and sacct's rows lag.
LOST_AFTER_S = 90
# How long the planner of a finished study waits for the last rows of sacct, so that its GPU hours are the settled ones.
SETTLE_S = 30
_ASK_AGAIN_S = 2


@dataclass(frozen=True, slots=True)
class Step:
    """What a planner step did. `wave` is the wave that runs now, or the last one.

    "waiting" is for the wave's jobs, "busy" that another process takes this very step, "unsubmitted" that the wave is
    planned and this step may not submit it (driver: chain).
    """

    kind: Literal["submitted", "waiting", "busy", "unsubmitted", "finished", "stopped"]
    wave: int
    message: str
    jobs: WaveJobs | None = None


def advance(layout: StudyLayout, spec: StudySpec, backend: Backend, *, again: bool = False) -> Step:
    """Takes the study one step on: settles an ended wave, plans the next one, submits it.

    `again` plans behind a wave that finished the study, for a budget that was raised. Raises BackendError if the
    cluster refuses; the next call goes on from there.
    """
    while True:
        history = read_history(layout)
        if layout.stop.exists():
            publish(layout, history, spec.publish, spec.limits)
            return Step("stopped", len(history.plans) - 1, f"the study was cancelled ({layout.stop} exists)")
        plan = history.plans[-1] if history.plans else None
        if plan is None or (plan.finished and again):
            again = False
            following = _decide(layout, spec, backend, history, ())
            if plan is None or not following.finished:
                _record(layout, backend, following)
                continue
        if plan.finished:
            publish(layout, history, spec.publish, spec.limits)
            tidy(layout, spec, history)
            chain.dismiss(layout, backend, plan)
            return Step("finished", plan.wave, plan.finished)
        step = _step(layout, spec, backend, history, plan)
        if step is not None:
            publish(layout, history, spec.publish, spec.limits)
            fail_point("published")
            if step.kind == "submitted":
                tidy(layout, spec, history)  # last: the chain must not wait for a slow disk
            return step


def _step(layout: StudyLayout, spec: StudySpec, backend: Backend, history: History, plan: WavePlan) -> Step | None:
    """One step with the wave that is planned last; None if the next one is planned now and the loop goes on."""
    wave = layout.wave(plan.wave)
    jobs = submission.submitted_jobs(wave)
    if jobs is None or not wave.released.exists():
        if chain.is_used(spec, backend):
            what = f"wave {plan.wave} is planned, and the chain of arrays has run out"
            return Step("unsubmitted", plan.wave, f"{what}: hposlurm resume {layout.root.name}")
        jobs = submission.submit_wave(submission.request_for(layout, spec, plan), backend, time.time())
        if jobs is None:
            return Step("busy", plan.wave, f"another planner is submitting wave {plan.wave}")
        return Step("submitted", plan.wave, f"wave {plan.wave}: {_trials(plan)}", jobs)
    ids = element_ids(plan, jobs.arrays)
    open_elements = [i for i in unfinished(plan, history) if ids[i]]  # no id: there was no room for it
    states = _await_known(layout, backend, plan, ids, open_elements) if open_elements else {}
    alive = [i for i in open_elements if states.get(ids[i], _UNKNOWN).state in (JobState.PENDING, JobState.RUNNING)]
    if alive:
        chain.trim(backend, plan, jobs)
        if not chain.is_used(spec, backend):
            _keep_planner(layout, spec, backend, plan, jobs)
        return Step("waiting", plan.wave, f"wave {plan.wave}: {len(alive)} of {_trials(plan)} still run", jobs)
    with contextlib.suppress(BackendError):  # what a lost answer left behind would stay held in the queue for ever
        token = token_of(wave)
        backend.sweep(submission.request_for(layout, spec, plan, token), jobs.arrays)
    history = read_history(layout)  # an element may have written its end between the two looks
    if history.plans[-1].wave != plan.wave:
        return None  # and another planner the next plan: it must not be planned a second time, as one wave more
    settled = _settle(layout, backend, plan, history, ids, states, is_late=jobs.is_late)
    following = _decide(layout, spec, backend, history, settled)
    # GPU hours are planned with what was really used; without accounting the workers' own records hold
    if following.finished or spec.budget.gpu_hours is not None:
        settled = _await_accounting(layout, backend, plan, history, ids, states, settled, is_late=jobs.is_late)
        following = _decide(layout, spec, backend, history, settled)
    _record(layout, backend, following)
    return None


def _record(layout: StudyLayout, backend: Backend, plan: WavePlan) -> None:
    """Makes the plan the next wave's, unless another planner was first: then that one's holds."""
    plan = chain.unless_missed(layout, backend, plan)
    fail_point("decided")
    record_plan(layout.wave(plan.wave), plan)
    fail_point("planned")


_UNKNOWN = ElementState(JobState.UNKNOWN)


def _decide(
    layout: StudyLayout, spec: StudySpec, backend: Backend, history: History, settled: Sequence[Settlement]
) -> WavePlan:
    seen = past.with_settlements(history, settled)
    size, gpus = backend.wave_size(spec), backend.gpus(spec)
    return next_plan(
        layout, spec, seen, settled, wave_size=size, gpus=gpus, now=time.time(), nodes=lambda: backend.nodes(spec)
    )


def _settle(
    layout: StudyLayout,
    backend: Backend,
    plan: WavePlan,
    history: History,
    ids: Sequence[str],
    states: Mapping[str, ElementState],
    *,
    is_late: bool,
) -> tuple[Settlement, ...]:
    """Verdicts on the wave's attempts, and what the accounting says by now of these and of earlier ones."""
    wave = layout.wave(plan.wave)
    late = unsettled(history, before=plan.wave)
    usage = (
        backend.usage(
            sorted({job_id.rpartition("_")[0] for job_id in (*filter(None, ids), *(a.job_id for _, a in late))})
        )
        or {}
    )
    unexplained = [ids[i] for i in crashed(plan, history) if ids[i] and ids[i] not in usage]
    if unexplained:
        states = {**backend.states(unexplained), **states}
    verdicts = settle(
        plan,
        history,
        ids,
        states,
        usage,
        after_cancel=wave.cancelled.exists(),
        is_late=is_late,
        log_tail=lambda job_id: last_words(wave.element_log(*_split(job_id), "err")),
    )
    return (*verdicts, *settle_late(late, usage))


def _await_accounting(
    layout: StudyLayout,
    backend: Backend,
    plan: WavePlan,
    history: History,
    ids: Sequence[str],
    states: Mapping[str, ElementState],
    settled: tuple[Settlement, ...],
    *,
    is_late: bool,
) -> tuple[Settlement, ...]:
    """Settles again until sacct, whose rows lag, has one for every element; no later wave would settle them."""
    deadline = time.monotonic() + SETTLE_S
    submitted = [job_id for job_id in ids if job_id]
    while (usage := backend.usage(sorted({job_id.rpartition("_")[0] for job_id in submitted}))) is not None:
        if all(job_id in usage for job_id in submitted) or time.monotonic() > deadline:
            return _settle(layout, backend, plan, history, ids, states, is_late=is_late)
        time.sleep(_ASK_AGAIN_S)
    return settled


def _await_known(
    layout: StudyLayout, backend: Backend, plan: WavePlan, ids: Sequence[str], elements: Sequence[int]
) -> Mapping[str, ElementState]:
    """The cluster's states; asks again for a grace time while an element without a record is unknown to it."""
    deadline = time.monotonic() + LOST_AFTER_S
    while True:
        states = backend.states([ids[i] for i in elements])
        unknown = [i for i in elements if states.get(ids[i], _UNKNOWN).state is JobState.UNKNOWN]
        if not unknown or time.monotonic() > deadline:
            return states
        time.sleep(_ASK_AGAIN_S)
        still = set(unfinished(plan, read_history(layout)))
        elements = [i for i in elements if i in still]
        if not elements:
            return states


def _keep_planner(layout: StudyLayout, spec: StudySpec, backend: Backend, plan: WavePlan, jobs: WaveJobs) -> None:
    """Makes sure that a planner waits behind the wave: this one may have been started early, or the other be gone."""
    if backend.is_foreground:
        return
    wave = layout.wave(plan.wave)
    planner = jobs.planner or ""
    known = backend.states([planner]) if planner else {}
    found = known.get(planner, _UNKNOWN)
    if found.detail == NEVER_SATISFIED:
        backend.cancel([planner])
    ended = found.state.is_terminal or found.detail == NEVER_SATISFIED or planner not in known
    waits = not ended and planner != os.environ.get("SLURM_JOB_ID")
    if not waits:
        request = submission.request_for(layout, spec, plan, token_of(wave))
        submission.put_planner(request, backend, wave, jobs.arrays)


def _split(job_id: str) -> tuple[str, int]:
    array, _, index = job_id.rpartition("_")
    return array, int(index or 0)


def _trials(plan: WavePlan) -> str:
    count = len(plan.assignments)
    return f"{count} trial" if count == 1 else f"{count} trials"
