"""Runs the virtual cluster: elements start on free slots, report and end, in the order of virtual time."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hposlurm.errors import RequestError
from hposlurm.planner.submission import groups_of
from hposlurm.pruning import DECISION
from hposlurm.records.assignment import Assignment
from hposlurm.records.plan import WavePlan
from hposlurm.simulation.cluster import Cluster, Fault
from hposlurm.simulation.deciders import Deciders
from hposlurm.simulation.element import Element
from hposlurm.simulation.function import Row, Trainer
from hposlurm.simulation.records import SimulatedRecords
from hposlurm.trial import JobState

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec

Action = Callable[[], None]
_GPUS_PER_NODE = 8
# How many trials more than two per slot may end at one moment before the study counts as endless
_STILL = 1000


class Machine:
    """The virtual cluster while a study runs on it.

    `now` is the virtual clock. `ended` holds the ended elements, and `over` the ended waves, that the caller has not
    removed yet. `left` maps every other wave to the number of its elements that have not ended.
    """

    def __init__(
        self, spec: StudySpec, trainer: Trainer, cluster: Cluster, begin: float, until: float, records: SimulatedRecords
    ) -> None:
        self._spec, self._trainer, self._cluster, self._records = spec, trainer, cluster, records
        self.gpus = spec.resources.nodes * spec.resources.gpus_per_node
        self.slots = cluster.slots(self.gpus)
        if spec.waves.max_concurrent is not None:
            self.slots = min(self.slots, spec.waves.max_concurrent)
        if self.slots < 1:
            raise RequestError(f"a trial takes {self.gpus} GPUs, but the simulated cluster has {cluster.gpus}")
        self.begin, self.now, self._until = begin, begin, until
        self.last_start, self.last_end = begin, begin
        self.ended: list[Element] = []
        self._free = list(range(self.slots))
        self.left: dict[int, int] = {}
        self.over: list[int] = []
        self._waiting: list[tuple[int, int, int, WavePlan]] = []
        self._events: list[tuple[float, int, Element | Action]] = []
        self._order = 0
        self._saved: dict[int, dict[int, Row]] = {}
        self._spans: list[tuple[float, float]] = []
        self._still = 0
        self._deciders = Deciders()
        self._reported: dict[int, dict[str, float | str]] = {}

    @property
    def is_idle(self) -> bool:
        """True if no event is left: nothing runs, and no action is scheduled."""
        return not self._events

    @property
    def is_over(self) -> bool:
        """True once the end of the simulated time is reached."""
        return self.now >= self._until

    @property
    def has_room(self) -> bool:
        """True if one more element could start now."""
        return bool(self._free) and not self.is_over

    @property
    def running(self) -> list[Element]:
        return [event for _, _, event in self._events if isinstance(event, Element)]

    def put_off(self, seconds: float, action: Action) -> None:
        """Schedules an action to run after `seconds`."""
        self._push(action, self.now + seconds)

    def submit(self, plan: WavePlan, after_s: float = 0.0) -> None:
        """Queues the wave's elements after those of earlier waves, or before them if their `--nice` is lower.

        They may start after `after_s` seconds.
        """
        self.left[plan.wave] = len(plan.assignments)
        if after_s:
            self.put_off(after_s, partial(self._queue, plan))
        else:
            self._queue(plan)

    def _queue(self, plan: WavePlan) -> None:
        nice = (group.nice for group in groups_of(self._spec, plan) for _ in range(group.count))
        for index, value in enumerate(nice):
            heapq.heappush(self._waiting, (value, plan.wave, index, plan))
        self._fill()

    def _fill(self) -> None:
        while self.has_room and self._waiting:
            _, _, index, plan = heapq.heappop(self._waiting)
            self._start(plan, index)

    def _start(self, plan: WavePlan, index: int) -> None:
        assignment = plan.assignments[index]
        trial, attempt = assignment.trial, self._records.next_attempt(assignment.trial)
        slot = heapq.heappop(self._free)
        saved = self._checkpoint(trial, assignment.resume_from)
        rows = self._trainer.rows(
            assignment.params,
            assignment.from_step if saved is None else max(saved.step, assignment.from_step),
            assignment.to_step,
            seed=assignment.seed,
            checkpoint=None if saved is None else saved.checkpoint,
        )
        trains_at = self.now + self._cluster.start_s
        limit, cut = self._limit(plan, assignment, attempt, trains_at)

        def write(kind: str, time: float, fields: Any) -> None:
            record = {"kind": kind, "t": time, **fields}
            self._records.add(trial, attempt, record)
            if kind == "report" and plan.scores:
                self._reported.setdefault(trial, {}).update(fields["metrics"])
            if plan.stop is not None:
                self._deciders.take(plan.stop, trial, record)

        known = dict(self._reported.get(trial, {}))
        element = Element(plan, index, attempt, slot, self.now, trains_at, rows, write, limit, cut, known)
        write("start", self.now, self._start_record(element, None if saved is None else saved.step))
        if attempt == 0:
            self.last_start = self.now
        self._push(element, element.begin())

    def happen(self) -> bool:
        """Executes the next event; False if the simulated time ends before it."""
        time, _, event = heapq.heappop(self._events)
        if time > self._until:
            self.now = self._until
            heapq.heappush(self._events, (time, 0, event))
            return False
        self._still = self._still + 1 if time == self.now else 0
        self.now = time
        if not isinstance(event, Element):
            event()
        elif event.proceed() and not self._is_stopped(event):
            self._push(event, event.next_event)
        else:
            self._release(event)
        return True

    def _is_stopped(self, element: Element) -> bool:
        """Returns True if the search ends the trial at this report.

        A real worker checks only from time to time; this one checks at every report.
        """
        if element.plan.stop is None:
            return False
        is_stopped = False
        for decision in self._deciders.decisions(element.assignment.trial):
            element.write(DECISION, self.now, decision.to_record())
            if decision.stops:
                element.stop(self.now, decision.reason)
                is_stopped = True
        return is_stopped

    def trained_s(self, until: float) -> float:
        """Returns the seconds that all elements together trained up to `until`."""
        running = ((e.trains_at, max(e.trains_at, self.now)) for e in self.running)
        return sum(max(0.0, min(end, until) - start) for start, end in (*self._spans, *running))

    def _start_record(self, element: Element, resumed_step: int | None) -> dict[str, Any]:
        return {
            "trial": element.assignment.trial,
            "attempt": element.attempt,
            "wave": element.plan.wave,
            "index": element.index,
            "host": f"sim{element.slot * max(1, self.gpus) // _GPUS_PER_NODE:04d}",
            "job_id": job_id(element.plan, element.index),
            "restart": 0,
            "stage": element.assignment.stage,
            "gpus": self.gpus,
            "gpu_ids": "",
            "git_commit": None,
            "resumed_from": None if resumed_step is None else f"checkpoints/step-{resumed_step}",
            "log": "",
        }

    def _limit(
        self, plan: WavePlan, assignment: Assignment, attempt: int, trains_at: float
    ) -> tuple[float, Fault | JobState | None]:
        """Returns the latest end of the element and its reason: a time limit, a fault, or None for the timeout."""
        found: list[tuple[float, Fault | JobState | None]] = [(float("inf"), None)]
        limit_s = plan.time_limit_s if assignment.time_limit_s is None else assignment.time_limit_s
        if limit_s is not None:
            found.append((self.now + limit_s, JobState.TIMEOUT))
        if plan.timeout_s is not None:
            found.append((trains_at + plan.timeout_s, None))
        fault = self._cluster.fault(assignment.trial, attempt)
        if fault is not None:
            found.append((self.now + fault[0], fault[1]))
        return min(found, key=lambda end: end[0])

    def _checkpoint(self, trial: int, resume_from: str | None) -> Row | None:
        """Returns the row to continue from: the trial's own newest, else the assigned one of another trial."""
        own = self._saved.get(trial)
        if own:
            return own[max(own)]
        if resume_from is None:
            return None
        _, parent, _, name = Path(resume_from).parts
        return self._saved[int(parent)][int(name.rpartition("-")[2])]

    def _push(self, event: Element | Action, time: float) -> None:
        self._order += 1
        heapq.heappush(self._events, (time, self._order, event))

    def _release(self, element: Element) -> None:
        heapq.heappush(self._free, element.slot)
        self.ended.append(element)
        self._spans.append((element.trains_at, element.trains_at + element.trained_s))
        self.last_end = self.now
        self.left[element.plan.wave] -= 1
        if not self.left[element.plan.wave]:
            del self.left[element.plan.wave]
            self.over.append(element.plan.wave)
        if element.saved is not None:
            self._saved.setdefault(element.assignment.trial, {})[element.saved.step] = element.saved
        if self._still > _STILL + 2 * self.slots and self._spec.budget.n_trials is None:
            shown = ", ".join(f"{name}={value}" for name, value in element.assignment.params.items())
            raise RequestError(
                f"{self._still} trials took no time (the last one: {shown:.300}): the study would never end"
            )
        self._fill()


def job_id(plan: WavePlan, index: int) -> str:
    """Returns the job id of an element of the wave; the part before the underscore is the wave's array."""
    return f"{plan.wave + 1}_{index}"
