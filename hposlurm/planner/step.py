"""advance(): one planner step. Any process may run it at any time and any number of times."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from hposlurm.backend import NEVER_SATISFIED, Backend
from hposlurm.decisions import needed_of, waves_in_flight
from hposlurm.errors import BackendError, LimitError, StudyError
from hposlurm.planner import chain, submission
from hposlurm.planner.claim import is_own, token_of
from hposlurm.planner.decide import next_plan
from hposlurm.planner.ends import UNKNOWN, Look, await_accounting, cancel_leftovers, close_pools, look, settle_waves
from hposlurm.planner.publishing import publish_and_tidy
from hposlurm.records import history as past
from hposlurm.records.assignment import Settlement
from hposlurm.records.clock import CLOCK, Clock
from hposlurm.records.fail_points import fail_point
from hposlurm.records.history import History, read_history
from hposlurm.records.jobs import WaveJobs, read_jobs
from hposlurm.records.layout import StudyLayout
from hposlurm.records.plan import WavePlan, record_plan
from hposlurm.trial import JobState

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec


# How many waves back to look for planner jobs that still wait because an `advance` by hand took their steps.
_LOOK_BACK = 50


@dataclass(frozen=True, slots=True)
class Step:
    """The result of a planner step."""

    #: "waiting": the wave's jobs still run. "busy": another process takes the same step. "unsubmitted": the wave is
    #: planned, but this step may not submit it (driver: chain).
    kind: Literal["submitted", "waiting", "busy", "unsubmitted", "finished", "stopped"]
    #: The wave that runs now, or the last one.
    wave: int
    message: str
    #: The jobs that were submitted, or that run.
    jobs: WaveJobs | None = None
    #: Those of the oldest wave in flight.
    awaited: WaveJobs | None = None
    #: Why local files could not be written: a sentence for each publisher that failed.
    unpublished: tuple[str, ...] = ()

    def check_published(self) -> None:
        """Raises StudyError if a local file could not be written; the rest of the step was done."""
        if self.unpublished:
            raise StudyError("; ".join(self.unpublished))


def advance(
    layout: StudyLayout, spec: StudySpec, backend: Backend, *, again: bool = False, clock: Clock = CLOCK
) -> Step:
    """Takes one step of the study: settles an ended wave, plans the next one and submits it.

    `again` plans another wave after the study had finished, for a raised budget. Raises BackendError if the cluster
    refuses; the next call continues from there.
    """
    begun: list[tuple[WavePlan, WaveJobs]] = []
    needed, history = needed_of(spec), None
    while True:
        if not layout.root.is_dir():  # else it would be made again, and all trials would run again
            raise StudyError(f"{layout.root} is gone: something has deleted or moved it, perhaps a trial's command")
        history = read_history(layout, needed=needed, after=history)
        if layout.stop.exists():
            stopped = Step("stopped", len(history.plans) - 1, f"the study was cancelled ({layout.stop} exists)")
            return _published(layout, spec, history, stopped)
        plan = history.plans[-1] if history.plans else None
        why = plan.finished if plan else None
        if plan is None or (plan.finished and again):
            again = False
            following = _decide(layout, spec, backend, history, (), (), clock)
            if plan is None or not following.finished:
                _record(layout, backend, following)
                continue
            why = following.finished
        if why:
            chain.cancel_pairs(layout, backend, plan)
            _cancel_overtaken(layout, backend, plan.wave)
            return _published(layout, spec, history, Step("finished", plan.wave, why))
        step = _step(layout, spec, backend, history, begun, clock)
        if step is not None:
            if step.kind == "submitted":
                _cancel_overtaken(layout, backend, min([step.wave, *(flying.wave for flying in history.in_flight)]))
            return _published(layout, spec, history, step)


def _published(layout: StudyLayout, spec: StudySpec, history: History, step: Step) -> Step:
    """Publishes, and cleans up after a wave. This comes last: the chain must not wait for a slow disk or service."""
    failures = publish_and_tidy(layout, spec, history, tidies=step.kind in ("submitted", "finished"))
    fail_point("published")
    return replace(step, unpublished=failures)


def _step(
    layout: StudyLayout,
    spec: StudySpec,
    backend: Backend,
    history: History,
    begun: list[tuple[WavePlan, WaveJobs]],
    clock: Clock,
) -> Step | None:
    """Takes one step with the waves in flight; None if another wave is now planned and the caller has to repeat.

    `begun` collects the waves that this call of `advance` has submitted.
    """
    plan = history.plans[-1]
    jobs = submission.submitted_jobs(layout.wave(plan.wave))
    is_chain = chain.is_used(spec, backend)
    if jobs is None or not (layout.wave(plan.wave).released.exists() or (is_chain and chain.has_begun(backend, jobs))):
        if is_chain:
            what = f"wave {plan.wave} is planned, and the chain of arrays has run out"
            return Step("unsubmitted", plan.wave, f"{what}: hposlurm resume {layout.root.name}")
        try:
            jobs = submission.submit_wave(submission.request_for(layout, spec, plan), backend, clock.now())
        except LimitError as error:
            return _full(layout, spec, backend, history, begun, error, clock)
        if jobs is None:
            return Step("busy", plan.wave, f"another planner is submitting wave {plan.wave}")
        begun.append((plan, jobs))
    most = waves_in_flight(spec, backend.wave_size(spec))
    if any(plan.elements is not None for plan, _ in begun):
        most = 1  # nothing can be added to a refill wave once another one is planned after it
    if begun and len(history.in_flight) >= most:
        return _begun(layout, history, begun)
    fresh = {plan.wave for plan, _ in begun}
    looks = [look(layout, backend, plan, history, clock) for plan in history.in_flight if plan.wave not in fresh]
    still_open = sorted(fresh | {found.plan.wave for found in looks if found.alive})
    if any(found.plan.elements is not None for found in looks if found.alive):
        most = 1  # `resume` may have changed the mode
    if len(still_open) < most:
        ended = [found for found in looks if not found.alive]
        for found in ended:
            cancel_leftovers(layout, spec, backend, found)
        close_pools(layout, ended, clock.now())
        # an element may have recorded its end meanwhile
        now = read_history(layout, needed=needed_of(spec), after=history)
        if now.plans[-1].wave != plan.wave:
            return None  # another planner recorded the next plan meanwhile: it must not be planned twice
        following = _follow(layout, spec, backend, now, ended, still_open, clock)
        if following.assignments or not still_open:
            _record(layout, backend, following)
            return None
    for found in looks:  # only waves that still run: an ended one is settled by the planner of the next wave
        if found.alive:
            chain.trim(backend, found.plan, found.jobs)
            if not is_chain:
                _keep_planner(layout, spec, backend, found.plan, found.jobs)
    return _begun(layout, history, begun, still_open) if begun else _waiting([f for f in looks if f.alive])


def _begun(
    layout: StudyLayout,
    history: History,
    begun: Sequence[tuple[WavePlan, WaveJobs]],
    still_open: Sequence[int] = (),
) -> Step:
    message = ", ".join(f"wave {plan.wave}: {_trials(plan)}" for plan, _ in begun)
    oldest = min([*still_open, *(plan.wave for plan in history.in_flight if not still_open)])
    awaited = submission.submitted_jobs(layout.wave(oldest))
    return Step("submitted", begun[-1][0].wave, message, _together([jobs for _, jobs in begun]), awaited)


def _full(
    layout: StudyLayout,
    spec: StudySpec,
    backend: Backend,
    history: History,
    begun: Sequence[tuple[WavePlan, WaveJobs]],
    error: LimitError,
    clock: Clock,
) -> Step:
    """Leaves the wave to the planner of an earlier wave in flight, since the queue has no room for it now.

    Raises `error` if no earlier wave still runs.
    """
    if begun:
        return _begun(layout, history, begun, [plan.wave for plan in history.in_flight[:-1]])
    looks = [look(layout, backend, plan, history, clock) for plan in history.in_flight[:-1]]
    running = [found for found in looks if found.alive]
    if not running:
        raise error
    for found in running:
        _keep_planner(layout, spec, backend, found.plan, found.jobs)
    return _waiting(running)


def _waiting(looks: Sequence[Look]) -> Step:
    counts = (f"wave {found.plan.wave}: {len(found.alive)} of {_trials(found.plan)} still run" for found in looks)
    jobs = _together([found.jobs for found in looks])
    return Step("waiting", looks[-1].plan.wave, ", ".join(counts), jobs, looks[0].jobs)


def _together(jobs: Sequence[WaveJobs]) -> WaveJobs:
    arrays = tuple(array for found in jobs for array in found.arrays)
    return WaveJobs(arrays, jobs[-1].planner, any(found.is_late for found in jobs))


def _follow(
    layout: StudyLayout,
    spec: StudySpec,
    backend: Backend,
    history: History,
    ended: Sequence[Look],
    still_open: Sequence[int],
    clock: Clock,
) -> WavePlan:
    """Returns the plan of the next wave, with the settlements of the waves that have ended."""
    settled = settle_waves(layout, backend, history, ended)
    following = _decide(layout, spec, backend, history, settled, still_open, clock)
    # a budget of GPU hours needs the really used time; without accounting the workers' own records count
    is_last = following.finished is not None and not still_open
    if ended and (is_last or spec.budget.gpu_hours is not None):
        settled = await_accounting(layout, backend, history, ended, settled, clock)
        following = _decide(layout, spec, backend, history, settled, still_open, clock)
    return following


def _record(layout: StudyLayout, backend: Backend, plan: WavePlan) -> None:
    """Records the plan of the next wave; if another planner was first, its plan counts."""
    plan = chain.unless_missed(layout, backend, plan)
    fail_point("decided")
    record_plan(layout.wave(plan.wave), plan)
    fail_point("planned")


def _decide(
    layout: StudyLayout,
    spec: StudySpec,
    backend: Backend,
    history: History,
    settled: Sequence[Settlement],
    still_open: Sequence[int],
    clock: Clock,
) -> WavePlan:
    seen = past.with_settlements(history, settled)
    return next_plan(
        layout,
        spec,
        seen,
        settled,
        wave_size=backend.wave_size(spec),
        gpus=backend.gpus(spec),
        now=clock.now(),
        still_open=still_open,
        nodes=lambda: backend.nodes(spec),
    )


def _keep_planner(layout: StudyLayout, spec: StudySpec, backend: Backend, plan: WavePlan, jobs: WaveJobs) -> None:
    """Makes sure that a planner waits for the wave's end: this one may have started early, or the other be gone."""
    if backend.is_foreground:
        return
    wave = layout.wave(plan.wave)
    planner = jobs.planner or ""
    known = backend.states([planner]) if planner else {}
    found = known.get(planner, UNKNOWN)
    if found.detail == NEVER_SATISFIED:
        backend.cancel([planner], [jobs.token])
    ended = found.state.is_terminal or found.detail == NEVER_SATISFIED or planner not in known
    waits = not ended and not is_own(planner, backend)
    if not waits:
        request = submission.request_for(layout, spec, plan, token_of(wave))
        submission.put_planner(request, backend, wave, jobs.arrays)


def _cancel_overtaken(layout: StudyLayout, backend: Backend, wave: int) -> None:
    """Cancels the waiting planners of waves before `wave`, whose steps other processes have taken.

    A study's planners run one at a time, in the order of their submission: one that Slurm holds blocks all later ones.
    """
    found = [read_jobs(layout.wave(before)) for before in range(max(0, wave - _LOOK_BACK), wave)]
    planners = [jobs.planner for jobs in found if jobs and jobs.planner and not jobs.is_late]
    with contextlib.suppress(BackendError):
        states = backend.states([job_id for job_id in planners if not is_own(job_id, backend)])
        if waiting := [job_id for job_id, found in states.items() if found.state is JobState.PENDING]:
            backend.cancel(waiting, [jobs.token for jobs in found if jobs])


def _trials(plan: WavePlan) -> str:
    count = plan.size
    if plan.elements is not None:
        return "1 element" if count == 1 else f"{count} elements"
    return f"{count} trial" if count == 1 else f"{count} trials"
