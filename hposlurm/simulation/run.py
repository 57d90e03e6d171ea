"""The event loop: elements on the virtual cluster's GPUs, and the planner's own decisions between them."""

from __future__ import annotations

import heapq
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hposlurm.backend import ElementState
from hposlurm.errors import RequestError
from hposlurm.layout import StudyLayout
from hposlurm.plan import WavePlan
from hposlurm.planner.decide import next_plan
from hposlurm.planner.settle import settle
from hposlurm.simulation.cluster import Cluster, Fault
from hposlurm.simulation.element import Element
from hposlurm.simulation.function import Row, Trainer, TrialFunction
from hposlurm.simulation.records import Records
from hposlurm.simulation.referees import Referees
from hposlurm.simulation.result import Decision, Simulated
from hposlurm.stopping import RULING
from hposlurm.trial import JobState, Settlement

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec

Mode = Literal["barrier", "refill"]

#: Epoch second at which a simulated study begins unless told otherwise: the same study is the same to the byte.
BEGIN = 1_767_225_600.0
_GPUS_PER_NODE = 8


def simulate(
    spec: StudySpec,
    function: TrialFunction | Trainer,
    cluster: Cluster | None = None,
    *,
    mode: Mode | None = None,
    until_s: float | None = None,
    begin: float = BEGIN,
    layout: StudyLayout | None = None,
    keep_journals: bool = True,
) -> Simulated:
    """Runs the study to its end in virtual time, or up to `until_s` virtual seconds; writes nothing.

    `function` is what a trial is (see TrialFunction), `mode` the study's own `waves.mode` unless given. The plans are
    those of the planner; commands are rendered for `layout`, which need not exist. With `keep_journals` the result can
    be written as a study directory. Raises RequestError where the function breaks its contract.
    """
    trainer = function if isinstance(function, Trainer) else Trainer(function)
    layout = layout or StudyLayout(Path("/simulated") / spec.name)
    run = _Run(spec, trainer, cluster or Cluster(), layout, begin, until_s, Records(keep_journals=keep_journals))
    chosen = mode or spec.waves.mode
    if chosen == "overlap":
        raise RequestError("waves.mode: overlap cannot be simulated; barrier and refill can")
    {"barrier": run.barrier, "refill": run.refill}[chosen]()
    return run.result(chosen)


class _Run:
    def __init__(
        self,
        spec: StudySpec,
        trainer: Trainer,
        cluster: Cluster,
        layout: StudyLayout,
        begin: float,
        until_s: float | None,
        records: Records,
    ) -> None:
        self._spec, self._trainer, self._cluster, self._layout = spec, trainer, cluster, layout
        self._begin, self._now = begin, begin
        self._until = float("inf") if until_s is None else begin + until_s
        self._records = records
        self._gpus = spec.resources.nodes * spec.resources.gpus_per_node
        self._slots = cluster.slots(self._gpus)
        if spec.waves.max_concurrent is not None:
            self._slots = min(self._slots, spec.waves.max_concurrent)
        self._free = list(range(self._slots))
        self._waiting: deque[tuple[WavePlan, int]] = deque()
        self._events: list[tuple[float, int, Element]] = []
        self._order = 0
        self._settled: list[Settlement] = []
        self._ended: list[Element] = []
        self._saved: dict[int, dict[int, Row]] = {}
        self._sized: dict[int, StudySpec] = {}
        self._trained_s = 0.0
        self._last_start = begin
        self._last_end = begin
        self._decisions: list[Decision] = []
        self._referees = Referees()

    # ---- modes

    def barrier(self) -> None:
        """Wave by wave: the next one is planned once every element of the last one has ended."""
        while (plan := self._decide(self._slots, self._spec)).assignments and self._now < self._until:
            self._now += self._cluster.wait_s(plan.wave)
            self._waiting.extend((plan, index) for index in range(len(plan.assignments)))
            self._fill()
            while self._events and self._happen():
                self._fill()
            if self._events:
                return
            self._now += self._cluster.planner_s

    def refill(self) -> None:
        """Every free slot takes one assignment when it is free, and nothing waits for anything else."""
        self._now += self._cluster.wait_s(0)
        spec = self._of_size(1)
        while True:
            while self._free and self._now < self._until:
                plan = self._decide(1, spec, is_idle=bool(self._events))
                if not plan.assignments:
                    break
                self._start(plan, 0)
            if not self._events or not self._happen():
                return

    # ---- decisions

    def _decide(self, size: int, spec: StudySpec, *, is_idle: bool = False) -> WavePlan:
        """The next plan, taken into the records; but one without assignments (`is_idle`) while others still run."""
        self._settle()
        history = self._records.history()
        asked = time.perf_counter()
        plan = next_plan(self._layout, spec, history, self._settled, wave_size=size, gpus=self._gpus, now=self._now)
        took = time.perf_counter() - asked
        self._decisions.append(Decision(len(history.trials), len(plan.assignments), took))
        if plan.assignments or not is_idle:
            self._records.settle(plan.settled[len(self._settled) :])
            self._records.plan(plan)
            self._settled = []
        return plan

    def _settle(self) -> None:
        """The planner's verdicts on what ended since the last time, from what the cluster says of its jobs."""
        unclear = [element for element in self._ended if element.state is not JobState.COMPLETED]
        self._ended = []
        if not unclear:
            return
        history = self._records.history()
        settled: list[Settlement] = []
        for plan, elements in _by_plan(unclear):
            ids = [""] * len(plan.assignments)
            states = {}
            for element in elements:
                ids[element.index] = _job_id(plan, element.index)
                states[ids[element.index]] = ElementState(element.state)
            settled += settle(plan, history, ids, states, {})
        self._records.settle(settled)
        self._settled += settled

    def _of_size(self, size: int) -> StudySpec:
        if size not in self._sized:
            waves = self._spec.waves.model_copy(update={"size": size})
            self._sized[size] = self._spec.model_copy(update={"waves": waves})
        return self._sized[size]

    # ---- events

    def _fill(self) -> None:
        while self._free and self._waiting and self._now < self._until:
            self._start(*self._waiting.popleft())

    def _start(self, plan: WavePlan, index: int) -> None:
        assignment = plan.assignments[index]
        trial, attempt = assignment.trial, self._records.next_attempt(assignment.trial)
        slot = heapq.heappop(self._free)
        saved = self._checkpoint(trial, assignment.resume_from)
        from_step = assignment.from_step if saved is None else max(saved.step, assignment.from_step)
        rows = self._trainer.rows(
            assignment.params,
            from_step,
            assignment.to_step,
            seed=assignment.seed,
            checkpoint=None if saved is None else saved.checkpoint,
        )
        trains_at = self._now + self._cluster.start_s
        limit, cut = self._limit(plan, trial, attempt, trains_at)

        def write(kind: str, time: float, fields: Any) -> None:
            record = {"kind": kind, "t": time, **fields}
            self._records.add(trial, attempt, record)
            if plan.stop is not None:
                self._referees.take(plan.stop, trial, record)

        element = Element(plan, index, attempt, slot, self._now, trains_at, rows, write, limit, cut)
        write("start", self._now, self._start_record(element, None if saved is None else saved.step))
        self._last_start = self._now
        self._push(element, element.begin())

    def _start_record(self, element: Element, resumed_step: int | None) -> dict[str, Any]:
        job_id = _job_id(element.plan, element.index)
        array = job_id.partition("_")[0]
        log = self._layout.wave(element.plan.wave).element_log(array, element.index)
        return {
            "trial": element.assignment.trial,
            "attempt": element.attempt,
            "wave": element.plan.wave,
            "index": element.index,
            "host": f"sim{element.slot * max(1, self._gpus) // _GPUS_PER_NODE:04d}",
            "job_id": job_id,
            "restart": 0,
            "stage": element.assignment.stage,
            "gpus": self._gpus,
            "gpu_ids": "",
            "git_commit": None,
            "resumed_from": None if resumed_step is None else f"checkpoints/step-{resumed_step}",
            "log": str(log.relative_to(self._layout.root)),
        }

    def _limit(
        self, plan: WavePlan, trial: int, attempt: int, trains_at: float
    ) -> tuple[float, Fault | JobState | None]:
        """When the element ends at the latest, and as what: the job's time limit, the trial's timeout, or a fault."""
        found: list[tuple[float, Fault | JobState | None]] = [(float("inf"), None)]
        if plan.time_limit_s is not None:
            found.append((self._now + plan.time_limit_s, JobState.TIMEOUT))
        if plan.timeout_s is not None:
            found.append((trains_at + plan.timeout_s, None))
        fault = self._cluster.fault(trial, attempt)
        if fault is not None:
            found.append((self._now + fault[0], fault[1]))
        return min(found, key=lambda end: end[0])

    def _checkpoint(self, trial: int, resume_from: str | None) -> Row | None:
        """The row to go on from: the trial's own newest, else the assigned one of another trial."""
        own = self._saved.get(trial)
        if own:
            return own[max(own)]
        if resume_from is None:
            return None
        _, parent, _, name = Path(resume_from).parts
        return self._saved[int(parent)][int(name.rpartition("-")[2])]

    def _push(self, element: Element, time: float) -> None:
        self._order += 1
        heapq.heappush(self._events, (time, self._order, element))

    def _happen(self) -> bool:
        """Lets happen what is next; False if the time to which the simulation runs is over before."""
        time, _, element = heapq.heappop(self._events)
        if time > self._until:
            self._now = self._until
            heapq.heappush(self._events, (time, 0, element))
            return False
        self._now = time
        if element.proceed() and not self._is_stopped(element):
            self._push(element, element.next_event)
        else:
            self._release(element)
        return True

    def _is_stopped(self, element: Element) -> bool:
        """Whether the search ends the trial at its report. A worker looks only now and then, this one at once."""
        if element.plan.stop is None:
            return False
        is_stopped = False
        for ruling in self._referees.rulings(element.assignment.trial):
            element.write(RULING, self._now, ruling.to_record())
            if ruling.stops:
                element.stop(self._now, ruling.reason)
                is_stopped = True
        return is_stopped

    def _release(self, element: Element) -> None:
        heapq.heappush(self._free, element.slot)
        self._ended.append(element)
        self._trained_s += element.trained_s
        self._last_end = self._now
        if element.saved is not None:
            self._saved.setdefault(element.assignment.trial, {})[element.saved.step] = element.saved

    def result(self, mode: Mode) -> Simulated:
        """What came of it. What still runs when the time is over has trained so far."""
        running = [element for _, _, element in self._events]
        trained_s = self._trained_s + sum(max(0.0, self._now - e.trains_at) for e in running)
        return Simulated(
            spec=self._spec,
            layout=self._layout,
            mode=mode,
            slots=self._slots,
            begin=self._begin,
            wall_s=(self._now if running else self._last_end) - self._begin,
            busy_s=self._last_start - self._begin,
            trained_s=trained_s,
            history=self._records.history(),
            journals=self._records.journals,
            decisions=tuple(self._decisions),
        )


def _by_plan(elements: Sequence[Element]) -> list[tuple[WavePlan, list[Element]]]:
    found: dict[int, tuple[WavePlan, list[Element]]] = {}
    for element in elements:
        found.setdefault(element.plan.wave, (element.plan, []))[1].append(element)
    return [found[wave] for wave in sorted(found)]


def _job_id(plan: WavePlan, index: int) -> str:
    return f"{plan.wave + 1}_{index}"
