"""Computes the progress of a study: phase, counts, best so far, running and failed trials. Reads files only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from hposlurm.backend import ElementState
from hposlurm.records.bad_nodes import bad_of, tally_nodes
from hposlurm.records.history import History
from hposlurm.records.layout import StudyLayout
from hposlurm.records.publications import publishing_failures
from hposlurm.records.ranking import best, pareto_front
from hposlurm.report.budget import BudgetUse, budget_use
from hposlurm.report.chain import GONE, QueueView, StuckJob, queue_view, stuck_jobs, too_much
from hposlurm.report.digest import FailedTrial, by_trial, failed_trial, printable_tail
from hposlurm.report.going_on import ways_on
from hposlurm.report.logs import output_tail
from hposlurm.report.phase import find_phase, open_trials
from hposlurm.report.preemption import LostNode
from hposlurm.report.remarks import remark_lines, tally_remarks
from hposlurm.report.simulated import Figures, read_figures
from hposlurm.report.view import StudyView, view_of
from hposlurm.space.metric_constraints import Limits
from hposlurm.trial import Attempt, JobState, Objective, Params, Trial, TrialState, latest_metrics

if TYPE_CHECKING:
    from hposlurm.report.notices.notice import Notice
    from hposlurm.report.records import StudyRecords

# the number of failed trials whose logs are read: a status must stay fast when every trial fails
_TAILS_READ = 20
#: The phases in which nothing will change by itself.
OVER = ("finished", "paused", "simulated", "stopped", "interrupted", "stalled")


@dataclass(frozen=True, slots=True)
class RunningTrial:
    """A running trial."""

    trial: int
    attempt: int
    node: str
    job_id: str
    #: the queue's state of its job; None if the queue was not queried
    job_state: JobState | None
    #: seconds of this attempt by this machine's clock
    running_s: float
    #: the last reported step, by an earlier attempt where this one resumed and has not reported yet
    step: int | None
    metrics: Mapping[str, float | str]


@dataclass(frozen=True, slots=True)
class ExcludedNode:
    """A node that is excluded for the study's jobs."""

    node: str
    reason: str


@dataclass(frozen=True, slots=True)
class BestTrial:
    """The best completed trial."""

    trial: int
    values: Mapping[str, float]
    params: Params
    #: the limits that it breaks; not empty only if all completed trials break a limit
    broken: tuple[str, ...] = ()
    #: the number of trials on the Pareto front; with several objectives this trial is one of them
    front: int = 1

    @property
    def remark(self) -> str:
        """Returns what to add after its values; "" for the only best trial if it keeps all limits."""
        if self.broken:
            return f"; infeasible: {'; '.join(self.broken)}"
        return f"; one of {self.front} on the Pareto front" if len(self.values) > 1 else ""


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a study, as `status` shows it.

    `phase` is one of:

    - not submitted, running, stopped, finished
    - paused: nothing runs until a person decides; `ways` has the commands
    - simulated: finished, and nothing was trained; `simulated` has the figures
    - interrupted: the process that drove the study on this machine has ended
    - stalled: not over, and no wave would follow by itself
    """

    study: str
    directory: str
    phase: str
    #: the reason for the phase, or the wave
    detail: str
    counts: Mapping[TrialState, int]
    #: the number of trials that the study will have; None if unknown
    total: int | None
    waves: int
    waves_done: int
    best: BestTrial | None
    #: includes the running attempts so far
    gpu_hours: float
    budget: Mapping[str, BudgetUse]
    #: seconds; None if unknown
    eta_s: float | None
    #: the number of elements of the last wave that the queue knows, by state
    queue: Mapping[JobState, int]
    #: the number of pending elements, by the reason that the queue gives
    waiting: Mapping[str, int]
    #: None if there is no planner, or the queue does not know it
    planner: JobState | None
    #: what to do about reasons for waiting that do not disappear by themselves
    advice: Mapping[str, str]
    #: held jobs
    stuck: tuple[StuckJob, ...]
    running: tuple[RunningTrial, ...]
    failed: tuple[FailedTrial, ...]
    excluded: tuple[ExcludedNode, ...]
    #: why no node is excluded although some are bad; may be ""
    exclude_note: str
    #: the search's notes on its last decision, and remarks on how trials ran
    notes: tuple[str, ...]
    #: the number of damaged journal lines by trial; they were left out
    unreadable: Mapping[int, int]
    #: the command to type next
    next: str
    simulated: Figures | None = None
    #: why publishers failed last, by their names; the next step retries them
    unpublished: Mapping[str, str] = field(default_factory=dict)
    #: the number of reported values that are only in the journal, by trial: it has too many metrics
    left_out: Mapping[int, int] = field(default_factory=dict)
    #: what is noticed in the results
    notices: tuple[Notice, ...] = ()
    #: of a paused study, the commands to choose from and what each does; `next` is the first one
    ways: Mapping[str, str] = field(default_factory=dict)
    #: the nodes from which trials were pushed out, with the jobs that run there now
    lost: tuple[LostNode, ...] = ()

    @property
    def is_over(self) -> bool:
        """True if nothing will change by itself."""
        return self.phase in OVER and not self.running

    def to_json(self) -> dict[str, Any]:
        """Returns the same data with stable keys, for programs."""
        return asdict(self)


def progress(
    records: StudyRecords | StudyView,
    *,
    now: float,
    queue: Mapping[str, ElementState] | None = None,
    lost: Sequence[LostNode] = (),
    handle: str | None = None,
) -> Progress:
    """Returns the progress of the study at `now` (epoch seconds).

    `queue` is the queue's answer about the last wave's elements and its planner; None if it was not queried. `lost` are
    the nodes from which trials were pushed out. `handle`
    names the study in commands.
    """
    view = records if isinstance(records, StudyView) else view_of(records)
    layout, facts, history, rest = view.layout, view.facts, view.history, view.rest
    limits, handle = facts.limits.parsed(), handle or view.name
    states = {job_id: found.state for job_id, found in (queue or {}).items() if found != GONE}
    phase, detail = find_phase(layout, history, queue, rest.ended_at)
    ways = ways_on(history, handle, more_failed=len(rest.failed))
    asked = queue_view(layout, history.in_flight, queue) if queue else QueueView({}, {})
    running = tuple(_running(t, now, states) for t in history.trials if t.state is TrialState.RUNNING)
    used = sum(trial.attempts[-1].gpus * run.running_s for trial, run in zip(_active(history), running, strict=True))
    last = history.plans[-1] if history.plans else None
    waves = _waves(view)
    return Progress(
        study=view.name,
        directory=str(layout.root),
        phase=phase,
        detail=detail,
        counts=view.counts(),
        total=view.total,
        waves=len(waves),
        waves_done=_waves_done(history, waves),
        best=best_trial(view.candidates, facts.objectives, limits),
        gpu_hours=view.gpu_hours + used / 3600,
        budget=budget_use(facts.budget, history, facts.objectives, now, limits, rest.past),
        eta_s=eta(view, now) if phase == "running" else None,
        queue=asked.elements,
        waiting=asked.waiting,
        planner=asked.planner,
        advice={} if phase == "stopped" else too_much(asked.waiting, handle),
        stuck=_stuck(layout, history, queue, handle) if queue and phase != "stopped" else (),
        running=running,
        failed=_failed(view),
        excluded=_excluded(view),
        unreadable=_by_trial(rest.unreadable, history, attrgetter("corrupt_lines")),
        left_out=_by_trial(rest.left_out, history, attrgetter("left_out")),
        exclude_note=last.exclude_note if last else "",
        notes=(*(last.notes if last else ()), *_remarks(view)),
        next=next(iter(ways), _next_command(phase, handle)),
        ways=ways,
        lost=tuple(lost),
        simulated=read_figures(layout),
        unpublished=publishing_failures(layout),
        notices=view.notices,
    )


def _stuck(
    layout: StudyLayout, history: History, queue: Mapping[str, ElementState], handle: str
) -> tuple[StuckJob, ...]:
    return tuple(job for plan in history.in_flight for job in stuck_jobs(layout, plan, queue, handle))


def eta(view: StudyView, now: float) -> float | None:
    """Returns the seconds until the last trial ends; None if unknown.

    Assumes that as many trials run at a time as now, and that each takes the mean runtime. Unknown while no trial has
    completed, no trial runs (the queue does not predict starts), or the total is unknown.
    """
    trials = view.history.trials
    runtimes = [t.runtime_s for t in trials if t.state is TrialState.COMPLETE and t.runtime_s is not None]
    timed, active = view.rest.timed + len(runtimes), _active(view.history)
    if not timed or not active or view.total is None:
        return None
    mean = (view.rest.runtime_s + sum(runtimes)) / timed
    begun = [max(0.0, mean - (trial.runtime_s or 0.0) - (now - trial.attempts[-1].started_at)) for trial in active]
    finished = sum(count for state, count in view.counts().items() if state.is_finished)
    waiting = max(0, view.total - finished - len(active))
    return max((sum(begun) + waiting * mean) / len(active), *begun)


def _active(history: History) -> list[Trial]:
    return [trial for trial in history.trials if trial.state is TrialState.RUNNING]


def _waves(view: StudyView) -> list[int]:
    """Returns the waves that have trials."""
    return sorted({*view.rest.waves, *(plan.wave for plan in view.history.plans if plan.assignments)})


def _waves_done(history: History, waves: Sequence[int]) -> int:
    """Returns the number of `waves` that a later plan follows, plus the last wave if all its elements have ended."""
    if not waves:
        return 0
    is_last_done = history.plans[-1].wave > waves[-1] or not open_trials(history, waves[-1])
    return len(waves) - 1 + is_last_done


def best_trial(history: History, objectives: Sequence[Objective], limits: Limits) -> BestTrial | None:
    """Returns the best completed trial; None if none has completed."""
    trial = best(history, objectives, limits)
    if trial is None:
        return None
    named = dict(zip((o.metric for o in objectives), trial.values or (), strict=True))
    broken = limits.complaints(trial.params, trial.known_metrics)
    front = len(pareto_front(history.trials, objectives, limits)) if len(objectives) > 1 else 1
    return BestTrial(trial.number, named, trial.params, broken, front)


def _running(trial: Trial, now: float, states: Mapping[str, JobState]) -> RunningTrial:
    attempt = trial.attempts[-1]
    running_s = max(0.0, now - attempt.started_at) if attempt.started_at else 0.0
    # one that resumed has what earlier attempts reported, and reports it no more
    known = [a for a in trial.attempts if a.reports] if attempt.resumed_from else [attempt]
    step = known[-1].reports[-1].step if known and known[-1].reports else None
    state = states.get(attempt.job_id)
    metrics = latest_metrics(known)
    return RunningTrial(trial.number, attempt.number, attempt.host, attempt.job_id, state, running_s, step, metrics)


def _failed(view: StudyView) -> tuple[FailedTrial, ...]:
    """Returns the failed trials by number; of the first ones with the end of the output if no record has it."""
    own = (failed_trial(trial) for trial in view.history.trials if trial.state is TrialState.FAIL)
    found = sorted((*view.rest.failed, *own), key=lambda failed: failed.trial)
    for position, failed in enumerate(found[:_TAILS_READ]):
        if not failed.tail:
            found[position] = replace(failed, tail=printable_tail(output_tail(view.layout, failed.log)))
    return tuple(found)


def _by_trial(known: Mapping[str, int], history: History, count_of: Callable[[Attempt], int]) -> dict[int, int]:
    found = {int(number): count for number, count in ({**known, **by_trial(history.trials, count_of)}).items()}
    return dict(sorted(found.items()))


def _excluded(view: StudyView) -> tuple[ExcludedNode, ...]:
    """Returns the nodes that the last plan excludes, with the reasons that the trials show by now."""
    names = view.history.plans[-1].exclude if view.history.plans else ()
    why = {bad.node: bad.why for bad in bad_of(view.rest.nodes + tally_nodes(view.history.trials))} if names else {}
    return tuple(ExcludedNode(name, why.get(name, "trials failed there")) for name in names)


def _remarks(view: StudyView) -> tuple[str, ...]:
    return remark_lines(view.rest.remarks + tally_remarks(view.history.trials), view.facts.past_step_advice)


def _next_command(phase: str, handle: str) -> str:
    verbs = {"finished": f"collect {handle}", "simulated": f"collect {handle}", "running": f"status {handle} --watch"}
    return f"hposlurm {verbs.get(phase, f'resume {handle}')}"
