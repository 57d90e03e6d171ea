"""Where a study is: phase, counts, best so far, what runs, what failed, what is left. Reads files only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from hposlurm.backend import DRIVER_ENDED, ElementState
from hposlurm.decisions import trials_wanted
from hposlurm.records.bad_nodes import bad_nodes
from hposlurm.records.cause_text import sentence
from hposlurm.records.fold import latest_metrics
from hposlurm.records.history import History, best, metrics_with_peaks, pareto_front
from hposlurm.records.jobs import read_jobs
from hposlurm.records.layout import StudyLayout
from hposlurm.records.publications import publishing_failures
from hposlurm.report.budget import BudgetUse, budget_use
from hposlurm.report.chain import GONE, QueueView, StuckJob, queue_view, stuck_jobs, too_much, why_blocked, why_broken
from hposlurm.report.logs import TAIL_LINES, output_tail
from hposlurm.report.printable import printable
from hposlurm.report.simulated import Figures, read_figures
from hposlurm.space.metric_constraints import Limits
from hposlurm.trial import Cause, EndCause, JobState, Objective, Outcome, Params, Trial, TrialState

if TYPE_CHECKING:
    from hposlurm.report.records import StudyRecords

# Output of more trials than these is not read from their logs: a status must stay fast when everything fails.
_TAILS_READ = 20
_FAILURES = (Outcome.FAIL, Outcome.INFEASIBLE, Outcome.DROPPED)


@dataclass(frozen=True, slots=True)
class RunningTrial:
    """A trial at work. `job_state` is the queue's word (None: not asked), `running_s` goes by this machine's clock."""

    trial: int
    attempt: int
    node: str
    job_id: str
    job_state: JobState | None
    running_s: float
    step: int | None
    metrics: Mapping[str, float | str]


@dataclass(frozen=True, slots=True)
class FailedTrial:
    """A trial that will not be tried again; `log` is relative to the study's directory, empty if there is none.

    `infeasible`: its configuration does not fit into the memory.
    """

    trial: int
    attempts: int
    reason: str
    tail: tuple[str, ...]
    log: str
    infeasible: bool = False


@dataclass(frozen=True, slots=True)
class ExcludedNode:
    """A node that the study's jobs keep away from."""

    node: str
    reason: str


@dataclass(frozen=True, slots=True)
class BestTrial:
    """The best completed trial. `broken` are the limits that it breaks: then all completed ones break some.

    `front` is how many trials no other one beats in every objective; with several objectives it is one of those.
    """

    trial: int
    values: Mapping[str, float]
    params: Params
    broken: tuple[str, ...] = ()
    front: int = 1

    @property
    def remark(self) -> str:
        """What else there is to say of it; "" for the one best trial that keeps all limits."""
        if self.broken:
            return f"; infeasible: {'; '.join(self.broken)}"
        return f"; one of {self.front} on the Pareto front" if len(self.values) > 1 else ""


@dataclass(frozen=True, slots=True)
class Progress:
    """What `status` shows. `total` is how many trials the study will have, `eta_s` seconds; None means unknown.

    `phase` is one of: not submitted, running, finished, simulated (finished, and nothing was trained: `simulated` says
    what it would have cost), stopped, interrupted (the process that drove it on this machine has ended), stalled (not
    over, and nothing would follow). `queue` counts the elements of the last wave that the
    queue knows, `waiting` why how many of them wait; `advice` is what to do about reasons that do not go away.
    `gpu_hours` include the running attempts so far. `exclude_note` says why no node is excluded although some are bad,
    `notes` is what the search said when it decided last.
    `unreadable` counts the damaged lines in the journals of a trial; they were left out.
    """

    study: str
    directory: str
    phase: str
    detail: str
    counts: Mapping[TrialState, int]
    total: int | None
    waves: int
    waves_done: int
    best: BestTrial | None
    gpu_hours: float
    budget: Mapping[str, BudgetUse]
    eta_s: float | None
    queue: Mapping[JobState, int]
    waiting: Mapping[str, int]
    planner: JobState | None
    advice: Mapping[str, str]
    stuck: tuple[StuckJob, ...]
    running: tuple[RunningTrial, ...]
    failed: tuple[FailedTrial, ...]
    excluded: tuple[ExcludedNode, ...]
    exclude_note: str
    notes: tuple[str, ...]
    unreadable: Mapping[int, int]
    next: str
    simulated: Figures | None = None
    #: Why publishers failed last, by their names; the next step tries them again.
    unpublished: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        """True if nothing more will happen by itself."""
        return self.phase in ("finished", "simulated", "stopped", "interrupted", "stalled") and not self.running

    def to_json(self) -> dict[str, Any]:
        """The same with stable keys for programs."""
        return asdict(self)


def progress(
    records: StudyRecords,
    *,
    now: float,
    queue: Mapping[str, ElementState] | None = None,
    handle: str | None = None,
) -> Progress:
    """Returns where the study is at `now` (epoch seconds).

    `queue` is what the queue says of the last wave's elements and its planner (None: it was not asked), `handle` how
    commands name the study.
    """
    layout, spec, history = records.layout, records.spec, records.history
    total = trials_wanted(spec)
    name = history.plans[0].study if history.plans else layout.root.name
    states = {job_id: found.state for job_id, found in (queue or {}).items() if found != GONE}
    phase, detail = find_phase(layout, history, queue)
    asked = queue_view(layout, history.in_flight, queue) if queue else QueueView({}, {})
    running = tuple(_running(t, now, states) for t in history.trials if t.state is TrialState.RUNNING)
    failed = [t for t in history.trials if t.state is TrialState.FAIL]
    used = sum(trial.attempts[-1].gpus * run.running_s for trial, run in zip(_active(history), running, strict=True))
    return Progress(
        study=name,
        directory=str(layout.root),
        phase=phase,
        detail=detail,
        counts=history.counts(),
        total=len(history.trials) if history.finished else total,
        waves=sum(bool(plan.assignments) for plan in history.plans),
        waves_done=_waves_done(history),
        best=best_trial(history, spec.objectives, spec.limits),
        gpu_hours=history.gpu_hours + used / 3600,
        budget=budget_use(spec.budget, history, spec.objectives, now, spec.limits),
        eta_s=eta(history, total, now) if phase == "running" else None,
        queue=asked.elements,
        waiting=asked.waiting,
        planner=asked.planner,
        advice={} if phase == "stopped" else too_much(asked.waiting, handle or name),
        stuck=_stuck(layout, history, queue, handle or name) if queue and phase != "stopped" else (),
        running=running,
        failed=tuple(_failed(layout, trial, i < _TAILS_READ) for i, trial in enumerate(failed)),
        excluded=_excluded(history),
        unreadable=_unreadable(history),
        exclude_note=history.plans[-1].exclude_note if history.plans else "",
        notes=history.plans[-1].notes if history.plans else (),
        next=_next_command(phase, handle or name),
        simulated=read_figures(layout),
        unpublished=publishing_failures(layout),
    )


def _stuck(
    layout: StudyLayout, history: History, queue: Mapping[str, ElementState], handle: str
) -> tuple[StuckJob, ...]:
    return tuple(job for plan in history.in_flight for job in stuck_jobs(layout, plan, queue, handle))


def find_phase(
    layout: StudyLayout, history: History, queue: Mapping[str, ElementState] | None = None
) -> tuple[str, str]:
    """The study's phase and a detail, as in Progress. The queue is believed only where it names jobs of the study."""
    if not history.plans:
        return "not submitted", "no wave was planned"
    if history.finished:
        return "simulated" if layout.simulated.exists() else "finished", history.finished
    if layout.stop.exists():
        return "stopped", "it was cancelled; no further wave will be submitted"
    last = history.plans[-1]
    before = read_jobs(layout.wave(last.wave - 1))
    if read_jobs(layout.wave(last.wave)) is None and before and before.is_late:
        return "stalled", f"wave {last.wave} is planned, and the chain of arrays has run out"
    if read_jobs(layout.wave(last.wave)) is None:
        return "not submitted", f"wave {last.wave} is planned, its jobs are not submitted"
    if queue and (why := why_broken(layout, last, queue)):
        is_left = all(found.detail == DRIVER_ENDED for found in queue.values())
        return ("interrupted", sentence(EndCause(Cause.DRIVER_ENDED))) if is_left else ("stalled", why)
    if not _open(history, last.wave):
        mine = [a for trial in history.trials for a in trial.attempts if a.wave == last.wave]
        ended_at = max((a.ended_at or a.started_at for a in mine), default=0.0)
        others = any(_open(history, plan.wave) for plan in history.in_flight)
        if queue and not others and (why := why_blocked(layout, last, queue, ended_at)):
            return "stalled", why
        return "running", f"wave {last.wave} has ended; its planner is next"
    return "running", f"wave {last.wave}"


def eta(history: History, total: int | None, now: float) -> float | None:
    """Seconds until the last trial ends, if as many run at a time as now and each takes the mean; None if unknown.

    Unknown while nothing has completed, nothing runs (a queue says nothing about its future) or the budget is unknown.
    """
    runtimes = [t.runtime_s for t in history.trials if t.state is TrialState.COMPLETE and t.runtime_s is not None]
    active = _active(history)
    if not runtimes or not active or total is None:
        return None
    mean = sum(runtimes) / len(runtimes)
    begun = [max(0.0, mean - (now - trial.attempts[-1].started_at)) for trial in active]
    finished = sum(trial.state.is_finished for trial in history.trials)
    waiting = max(0, total - finished - len(active))
    return max((sum(begun) + waiting * mean) / len(active), *begun)


def _active(history: History) -> list[Trial]:
    return [trial for trial in history.trials if trial.state is TrialState.RUNNING]


def _open(history: History, wave: int) -> list[int]:
    """Trials of `wave` that run, or wait without having had their attempt in it."""
    mine = {a.trial for plan in history.plans if plan.wave == wave for a in plan.assignments}
    return [
        t.number
        for t in history.trials
        if t.number in mine
        and (
            t.state is TrialState.RUNNING
            or (t.state is TrialState.WAITING and not any(a.wave == wave for a in t.attempts))
        )
    ]


def _waves_done(history: History) -> int:
    """Waves with a later plan behind them, and the last one if all its elements have ended."""
    waves = [plan.wave for plan in history.plans if plan.assignments]
    if not waves:
        return 0
    is_last_done = history.plans[-1].wave > waves[-1] or not _open(history, waves[-1])
    return len(waves) - 1 + is_last_done


def best_trial(history: History, objectives: Sequence[Objective], limits: Limits) -> BestTrial | None:
    """The best completed trial, None if none has completed."""
    trial = best(history, objectives, limits)
    if trial is None:
        return None
    named = dict(zip((o.metric for o in objectives), trial.values or (), strict=True))
    broken = limits.complaints(trial.params, metrics_with_peaks(trial))
    front = len(pareto_front(history.trials, objectives, limits)) if len(objectives) > 1 else 1
    return BestTrial(trial.number, named, trial.params, broken, front)


def _running(trial: Trial, now: float, states: Mapping[str, JobState]) -> RunningTrial:
    attempt = trial.attempts[-1]
    running_s = max(0.0, now - attempt.started_at) if attempt.started_at else 0.0
    step = attempt.reports[-1].step if attempt.reports else None
    state = states.get(attempt.job_id)
    metrics = latest_metrics([attempt])
    return RunningTrial(trial.number, attempt.number, attempt.host, attempt.job_id, state, running_s, step, metrics)


def _failed(layout: StudyLayout, trial: Trial, may_read: bool) -> FailedTrial:
    culprit = next((a for a in reversed(trial.attempts) if a.outcome in _FAILURES), trial.attempts[-1])
    tail = trial.tail or (output_tail(layout, culprit) if may_read else ())
    lines = tuple(line for raw in tail if (line := printable(raw)))[-TAIL_LINES:]
    reason = printable(trial.reason)
    return FailedTrial(trial.number, len(trial.attempts), reason, lines, culprit.log, trial.infeasible)


def _unreadable(history: History) -> dict[int, int]:
    counts = {trial.number: sum(attempt.corrupt_lines for attempt in trial.attempts) for trial in history.trials}
    return {number: count for number, count in counts.items() if count}


def _excluded(history: History) -> tuple[ExcludedNode, ...]:
    """What the last plan keeps away from, with what the trials tell of it by now."""
    why = {bad.node: bad.why for bad in bad_nodes(history.trials)}
    names = history.plans[-1].exclude if history.plans else ()
    return tuple(ExcludedNode(name, why.get(name, "trials failed there")) for name in names)


def _next_command(phase: str, handle: str) -> str:
    verbs = {"finished": f"collect {handle}", "simulated": f"collect {handle}", "running": f"status {handle} --watch"}
    return f"hposlurm {verbs.get(phase, f'resume {handle}')}"
