"""simulate(): alternates between the planner's own decisions and the events of the virtual cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hposlurm.backend import ElementState
from hposlurm.decisions import DecisionMemory, mode_of, needed_of, waves_in_flight
from hposlurm.planner.decide import next_plan
from hposlurm.planner.settle import settle
from hposlurm.records.assignment import Settlement
from hposlurm.records.layout import StudyLayout
from hposlurm.records.plan import WavePlan
from hposlurm.simulation.cluster import Cluster
from hposlurm.simulation.element import Element
from hposlurm.simulation.function import Trainer, TrialFunction
from hposlurm.simulation.machine import Machine, job_id
from hposlurm.simulation.records import SimulatedRecords
from hposlurm.simulation.result import Simulated, SimulatedDecision
from hposlurm.trial import JobState

if TYPE_CHECKING:
    from hposlurm.decisions import WarmStart
    from hposlurm.spec import StudySpec

Mode = Literal["barrier", "overlap", "refill"]
#: Called before every decision with the virtual seconds so far and the number of trials.
Watch = Callable[[float, int], None]

#: Default start of a simulated study, in seconds since the epoch. It is fixed, so that a repetition is identical to
#: the byte.
BEGIN = 1_767_225_600.0


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
    warm: WarmStart | None = None,
    watch: Watch | None = None,
) -> Simulated:
    """Runs the study to its end in virtual time, or up to `until_s` virtual seconds; writes nothing.

    `function` computes a trial (see TrialFunction). `mode` overrides the study's own `waves.mode`. The plans are those
    of the planner; commands are rendered for `layout`, which need not exist. With `keep_journals` the result can be
    written as a study directory. `warm` holds the trials taken from other studies. Raises RequestError if the function
    breaks its contract.
    """
    trainer = function if isinstance(function, Trainer) else Trainer(function)
    layout = layout or StudyLayout(Path("/simulated") / spec.name)
    mode = mode or mode_of(spec).name
    cluster = cluster or Cluster()
    records = SimulatedRecords(needed_of(spec), keep_journals=keep_journals)
    until = float("inf") if until_s is None else begin + until_s
    # the planner sees these modes: with refill every assignment is a separate wave, planned once a slot is free for it
    seen = "overlap" if mode == "overlap" else "barrier"
    planned = spec.model_copy(update={"waves": spec.waves.model_copy(update={"mode": seen})})
    machine = Machine(planned, trainer, cluster, begin, until, records)
    run = _Run(planned, layout, cluster, machine, records, warm, watch)
    {"barrier": run.barrier, "overlap": run.overlap, "refill": run.refill}[mode]()
    return replace(run.result(mode), spec=spec)


class _Run:
    def __init__(
        self,
        spec: StudySpec,
        layout: StudyLayout,
        cluster: Cluster,
        machine: Machine,
        records: SimulatedRecords,
        warm: WarmStart | None,
        watch: Watch | None,
    ) -> None:
        self._spec, self._layout, self._cluster, self._machine = spec, layout, cluster, machine
        self._records, self._warm, self._watch = records, warm, watch
        self._memory = DecisionMemory()
        self._settled: list[Settlement] = []
        self._sized: dict[int, StudySpec] = {}
        self._decisions: list[SimulatedDecision] = []

    # ---- modes

    def barrier(self) -> None:
        """Runs wave by wave: plans the next wave once every element of the last one has ended."""
        machine = self._machine
        while (plan := self._decide(machine.slots, self._spec)).assignments and not machine.is_over:
            machine.submit(plan, self._cluster.wait_s(plan.wave))
            while not machine.is_idle:
                if not machine.happen():
                    return
            machine.now += self._cluster.planner_s

    def overlap(self) -> None:
        """Keeps several waves in flight: when one has ended, its planner queues the next after the others."""
        machine = self._machine
        self._plan_ahead()
        while not machine.is_idle and machine.happen():
            for _ in machine.over:
                machine.put_off(self._cluster.planner_s, self._plan_ahead)
            machine.over = []

    def _plan_ahead(self) -> None:
        machine = self._machine
        most = waves_in_flight(self._spec, machine.slots)
        while len(machine.left) < most and not self._records.is_finished and not machine.is_over:
            plan = self._decide(machine.slots, self._spec, records_empty=not machine.left)
            if not plan.assignments:
                return
            machine.submit(plan, self._cluster.wait_s(plan.wave))

    def refill(self) -> None:
        """Gives every slot one assignment as soon as it is free; no assignment waits for another."""
        machine = self._machine
        machine.now += self._cluster.wait_s(0)
        spec = self._of_size(1)
        while True:
            while machine.has_room:
                plan = self._decide(1, spec, records_empty=not machine.left)
                if not plan.assignments:
                    break
                machine.submit(plan)
            if machine.is_idle or not machine.happen():
                return

    # ---- decisions

    def _decide(self, size: int, spec: StudySpec, *, records_empty: bool = True) -> WavePlan:
        """Returns the next plan and records it; a plan without assignments only if `records_empty`."""
        self._settle()
        history, machine = self._records.history(), self._machine
        if self._watch is not None:
            self._watch(machine.now - machine.begin, len(history.trials))
        asked = time.thread_time()
        plan = next_plan(
            self._layout,
            spec,
            history,
            self._settled,
            wave_size=size,
            gpus=machine.gpus,
            now=machine.now,
            still_open=tuple(machine.left),
            warm=self._warm,
            memory=self._memory,
        )
        took = time.thread_time() - asked
        self._decisions.append(SimulatedDecision(len(history.trials), len(plan.assignments), took))
        if plan.assignments or records_empty:
            self._records.settle(plan.settled[len(self._settled) :])
            self._records.plan(plan)
            self._settled = []
        return plan

    def _settle(self) -> None:
        """Settles the elements that ended since the last call, by the cluster's states of their jobs."""
        machine = self._machine
        over = [element for element in machine.ended if element.plan.wave not in machine.left]
        machine.ended = [element for element in machine.ended if element.plan.wave in machine.left]
        unclear = [element for element in over if element.state is not JobState.COMPLETED]
        if not unclear:
            return
        history = self._records.history()
        settled: list[Settlement] = []
        for plan, elements in _by_plan(unclear):
            ids = [""] * len(plan.assignments)
            states = {}
            for element in elements:
                ids[element.index] = job_id(plan, element.index)
                states[ids[element.index]] = ElementState(element.state)
            settled += settle(plan, history, ids, states, {})
        self._records.settle(settled)
        self._settled += settled

    def _of_size(self, size: int) -> StudySpec:
        if size not in self._sized:
            waves = self._spec.waves.model_copy(update={"size": size})
            self._sized[size] = self._spec.model_copy(update={"waves": waves})
        return self._sized[size]

    def result(self, mode: Mode) -> Simulated:
        """Returns the result.

        Elements that still run at the end of the simulated time count with their training so far.
        """
        machine = self._machine
        wall_s = (machine.last_end if machine.is_idle else machine.now) - machine.begin
        busy_s = machine.last_start - machine.begin
        return Simulated(
            spec=self._spec,
            layout=self._layout,
            mode=mode,
            slots=machine.slots,
            begin=machine.begin,
            wall_s=wall_s,
            busy_s=busy_s,
            trained_s=machine.trained_s(machine.begin + wall_s),
            busy_trained_s=machine.trained_s(machine.last_start),
            history=self._records.history(),
            journals=self._records.journals,
            decisions=tuple(self._decisions),
        )


def _by_plan(elements: Sequence[Element]) -> list[tuple[WavePlan, list[Element]]]:
    found: dict[int, tuple[WavePlan, list[Element]]] = {}
    for element in elements:
        found.setdefault(element.plan.wave, (element.plan, []))[1].append(element)
    return [found[wave] for wave in sorted(found)]
