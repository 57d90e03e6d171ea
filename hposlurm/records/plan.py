"""The plan of a wave (`wave.json`): created once, never changed. Standard library only: the worker imports this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from hposlurm.errors import StudyError
from hposlurm.pruning import StopRule
from hposlurm.records import refill_pool
from hposlurm.records.assignment import Assignment, Settlement
from hposlurm.records.decode import structure
from hposlurm.records.files import create_once, from_json, to_json
from hposlurm.records.layout import StudyLayout, WaveLayout
from hposlurm.records.metric_source import MetricSource
from hposlurm.records.old_causes import with_causes
from hposlurm.records.permissions import make_directory
from hposlurm.records.reading import read_whole
from hposlurm.records.scores import ScoreFormula
from hposlurm.trial import ValueRule

#: The format that is written.
FORMAT = 2
#: The formats that can be read. In format 1 a settlement gives its cause only as a sentence.
FORMATS = (1, 2)
#: The most elements of an array. A larger number is damage, and would not fit into the memory.
MOST_ELEMENTS = 10_000_000


@dataclass(frozen=True, slots=True)
class WavePlan:
    """The plan of one wave: its assignments, and the decisions about earlier attempts."""

    wave: int
    #: The study's name.
    study: str
    #: Seconds since the epoch.
    created_at: float
    #: The file name of the spec revision that it was planned with.
    spec: str
    seed: int
    #: The metrics that are optimised, in the study's order.
    objectives: tuple[str, ...]
    #: The absolute directory in which commands run.
    workdir: str
    #: For each objective, which of a trial's values counts. () in plans of older versions: the last one of each.
    value_rules: tuple[ValueRule, ...] = ()
    #: The objectives that workers compute.
    scores: tuple[ScoreFormula, ...] = ()
    #: The GPUs of one element.
    gpus: int = 0
    #: The CPUs of one element.
    cpus: int = 1
    #: How many failed attempts a trial may have before it is given up.
    retries: int = 0
    #: trial.timeout: how long a command may run; None means without limit.
    timeout_s: float | None = None
    #: trial.stop_signal: the name of the signal that asks a command to save and exit; None: none is sent.
    stop_signal: str | None = None
    #: trial.stop_grace: how long a command may take to save and exit; None: what the backend allows.
    stop_grace_s: float | None = None
    #: How long an element's job may last; None: unknown.
    time_limit_s: float | None = None
    #: trial.metric_pattern: the pattern that finds metrics in the output.
    metric_pattern: str | None = None
    #: trial.metrics: how files are read that training libraries write by themselves.
    sources: tuple[MetricSource, ...] = ()
    #: The other metrics of the study file; a group of the pattern may stand for one of them.
    metrics: tuple[str, ...] = ()
    #: What `seed` is in commands and environments of the wave; None: each trial's own seed, as in older studies.
    command_seed: int | None = None
    #: The share of the memory at which the memory guard warns; None if the guard is off.
    memory_warning: float | None = 0.95
    #: How many more checks of the memory a trial has after the warning.
    memory_grace_steps: int = 5
    #: No trial is trained beyond this step, however far a single assignment goes; None: the training code's own end.
    max_resource: int | None = None
    #: The rule by which workers end trials at a report.
    stop: StopRule | None = None
    #: After how many attempts that all failed alike the wave's other elements run nothing; None: one has completed.
    pause_after: int | None = None
    #: The first wave whose attempts count for that: the one after the study last ended or paused.
    pause_since: int = 0
    assignments: tuple[Assignment, ...] = ()
    #: The decisions about attempts of earlier waves.
    settled: tuple[Settlement, ...] = ()
    #: The nodes that the wave's jobs avoid because trials failed there.
    exclude: tuple[str, ...] = ()
    #: Why bad nodes are not excluded, where they are too many; "" otherwise.
    exclude_note: str = ""
    #: The search's notes about its decision, for people.
    notes: tuple[str, ...] = ()
    #: The earlier waves whose jobs had not all ended then. Nothing is settled about them yet.
    in_flight: tuple[int, ...] = ()
    #: The smallest number that no wave in flight has. It decides the wave's share of `waves.max_concurrent`.
    lane: int = 0
    #: The number of array elements of a refill wave; None for any other wave. Each element takes one of the assignments
    #: when it starts. More are added while the wave runs, so that there may be more or fewer assignments than elements.
    elements: int | None = None
    #: How many assignments of a refill wave are kept ready.
    ahead: int = 0
    #: Why no more assignments are added to a refill wave; "" while some may be.
    over: str = ""
    #: Why the study is over; None while it is not. A plan with a reason has no assignments.
    finished: str | None = None
    #: True if it is over only until a person decides: the trials or the jobs fail, and `finished` says how.
    paused: bool = False

    @property
    def size(self) -> int:
        """The number of array elements that the wave has."""
        return len(self.assignments) if self.elements is None else self.elements

    def to_json(self) -> dict[str, Any]:
        settled = [settlement.to_json() for settlement in self.settled]
        return {"format": FORMAT, **asdict(replace(self, settled=())), "settled": settled}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> WavePlan:
        """Returns the plan in `data`; raises ValueError, with the place of the error, if it is not a plan."""
        plan = structure(cls, {key: value for key, value in data.items() if key != "format"})
        if data.get("format") == 1:
            plan = replace(plan, settled=with_causes(plan.settled))
        if not plan.objectives:
            raise ValueError("objectives: the list is empty")
        if plan.value_rules and len(plan.value_rules) != len(plan.objectives):
            raise ValueError("value_rules: not one for each objective")
        if any(assignment.trial < 0 for assignment in plan.assignments):
            raise ValueError("assignments: a trial's number is negative")
        if list(plan.in_flight) != sorted({*plan.in_flight} & {*range(plan.wave)}):
            raise ValueError("in_flight: these are not earlier waves in order")
        if plan.elements is not None and not 0 < plan.elements <= MOST_ELEMENTS:
            raise ValueError("elements: not a number that an array can have")
        return plan


def closing_plans(plans: Sequence[WavePlan]) -> dict[int, WavePlan]:
    """Returns for each ended wave the plan that settled it: the first later plan that does not list it as in flight."""
    found: dict[int, WavePlan] = {}
    is_open: set[int] = set()
    for plan in plans:
        found.update((wave, plan) for wave in is_open - {*plan.in_flight})
        is_open = {*plan.in_flight, plan.wave}
    return found


def read_plan(wave: WaveLayout) -> WavePlan:
    """Returns the plan of `wave` with all additions; raises StudyError if it is missing or damaged."""
    plan = _read(wave, {})
    if plan.elements is None:
        return plan
    added = list(refill_pool.batches(wave, len(plan.assignments)))
    return replace(
        plan,
        assignments=(*plan.assignments, *(assignment for batch in added for assignment in batch.assignments)),
        settled=(*plan.settled, *(settlement for batch in added for settlement in batch.settled)),
        notes=(*plan.notes, *(note for batch in added for note in batch.notes)),
        over=added[-1].over if added else "",
    )


def check_objectives(layout: StudyLayout, names: Sequence[str]) -> None:
    """Raises StudyError unless the study's waves were planned for the objectives of these names.

    With the frozen spec of another study, the values of the trials would have other meanings.
    """
    try:
        planned = read_first(layout.wave(0)).objectives
    except StudyError:
        return  # nothing is planned yet, or the plans are damaged, which their reader reports
    if planned != tuple(names):
        spec = layout.spec(layout.revisions()[-1])
        raise StudyError(
            f"{spec} has the objectives {', '.join(names)}, but the study was launched with {', '.join(planned)}: "
            "restore the file that launch wrote"
        )


def read_first(wave: WaveLayout) -> WavePlan:
    """Returns the plan as it was first recorded, without the settlements of earlier waves and without additions.

    That is enough to run a part of the wave. Raises StudyError if it is missing or damaged.
    """
    return _read(wave, {"settled": []})


def _read(wave: WaveLayout, instead: Mapping[str, Any]) -> WavePlan:
    try:
        data = from_json(read_whole(wave.plan))
        if not isinstance(data, dict):
            raise ValueError("it does not contain a plan")
        if data.get("format") not in FORMATS:
            known = " and ".join(map(str, FORMATS))
            raise StudyError(f"{wave.plan} has format {data.get('format')!r:.60}; this hposlurm reads format {known}")
        plan = WavePlan.from_json({**data, **instead})
        if plan.wave != wave.index:
            raise ValueError(f"it is the plan of wave {plan.wave}")
        return plan
    except FileNotFoundError:
        raise StudyError(f"{wave.plan} does not exist: wave {wave.index} was never planned") from None
    except (OSError, ValueError) as error:
        raise StudyError(f"{wave.plan} is damaged: {error}; {_cure(wave)}") from error


def bound(wave: WaveLayout, plan: WavePlan) -> dict[int, Assignment]:
    """Returns the assignment of each element of the wave that has one; in a refill wave only started elements have."""
    if plan.elements is None:
        return dict(enumerate(plan.assignments))
    takers = refill_pool.takers(wave).items()
    return {element: plan.assignments[position] for position, element in takers if position < len(plan.assignments)}


def _cure(wave: WaveLayout) -> str:
    if any(path.exists() for path in (wave.intent, wave.jobs, wave.released)):
        return "restore it from a backup (nothing was changed; the trials' own files hold what they reported)"
    return f"none of its jobs was submitted: move {wave.root} away and run `hposlurm advance` to plan it again"


def record_plan(wave: WaveLayout, plan: WavePlan) -> bool:
    """Creates the plan of `wave`; returns False if another planner was first, whose plan then counts."""
    make_directory(wave.root)
    return create_once(wave.plan, to_json(plan.to_json()))
