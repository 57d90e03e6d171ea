"""The plan of a wave (`wave.json`): created once, never changed. Standard library only: the worker imports this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from hposlurm.errors import StudyError
from hposlurm.pruning import StopRule
from hposlurm.records import refill_pool
from hposlurm.records.decode import structure
from hposlurm.records.files import create_once, from_json, to_json
from hposlurm.records.layout import StudyLayout, WaveLayout
from hposlurm.records.old_causes import with_causes
from hposlurm.trial import Assignment, Settlement

#: What is written, and what is read. In format 1 a settlement tells its cause by a sentence only.
FORMAT = 2
FORMATS = (1, 2)
#: Elements of an array; more is damage, and would not fit into the memory.
MOST_ELEMENTS = 10_000_000


@dataclass(frozen=True, slots=True)
class WavePlan:
    """What one wave runs, and what was decided about the attempts before it.

    `finished` holds the reason why the study is over; such a plan has no assignments. `gpus` and `cpus` are those of
    one element, `time_limit_s` is how long its job may last (None: unknown). `workdir` is the absolute directory in
    which commands run. `memory_warning` is the share of the memory at which the guard warns, None if it is off;
    `memory_grace_steps` is how many looks at it a trial then still has. `exclude` are the nodes that the wave's jobs
    keep away from because trials failed there; `exclude_note` says why they do not where that would be too many.
    `notes` is what the search says aloud about its decision. `max_resource` is the step that no trial is trained
    beyond, however far a single assignment goes (None: the training code's own end). `stop` is the rule by which
    workers end trials at a report. `in_flight` are the earlier waves whose jobs had not all ended then: nothing is
    settled about them yet. `lane` is the smallest number that none of these has: waves that are in flight together
    share what `waves.max_concurrent` allows by it.

    With `elements` it is a refill wave of so many array elements: each takes one of the assignments when it starts,
    further ones are added while it runs, `ahead` of them are kept ready, and there may be more and fewer than elements.
    `over` is why nothing more is added, "" while something may be.
    """

    wave: int
    study: str
    created_at: float
    spec: str
    seed: int
    objectives: tuple[str, ...]
    workdir: str
    gpus: int = 0
    cpus: int = 1
    retries: int = 0
    timeout_s: float | None = None
    time_limit_s: float | None = None
    metric_pattern: str | None = None
    memory_warning: float | None = 0.95
    memory_grace_steps: int = 5
    max_resource: int | None = None
    stop: StopRule | None = None
    assignments: tuple[Assignment, ...] = ()
    settled: tuple[Settlement, ...] = ()
    exclude: tuple[str, ...] = ()
    exclude_note: str = ""
    notes: tuple[str, ...] = ()
    in_flight: tuple[int, ...] = ()
    lane: int = 0
    elements: int | None = None
    ahead: int = 0
    over: str = ""
    finished: str | None = None

    @property
    def size(self) -> int:
        """How many array elements the wave has."""
        return len(self.assignments) if self.elements is None else self.elements

    def to_json(self) -> dict[str, Any]:
        settled = [settlement.to_json() for settlement in self.settled]
        return {"format": FORMAT, **asdict(replace(self, settled=())), "settled": settled}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> WavePlan:
        """The plan in `data`; raises ValueError, with the place of what is wrong, if it is not one."""
        plan = structure(cls, {key: value for key, value in data.items() if key != "format"})
        if data.get("format") == 1:
            plan = replace(plan, settled=with_causes(plan.settled))
        if not plan.objectives:
            raise ValueError("objectives: there is none")
        if any(assignment.trial < 0 for assignment in plan.assignments):
            raise ValueError("assignments: a trial's number is negative")
        if list(plan.in_flight) != sorted({*plan.in_flight} & {*range(plan.wave)}):
            raise ValueError("in_flight: these are no earlier waves in order")
        if plan.elements is not None and not 0 < plan.elements <= MOST_ELEMENTS:
            raise ValueError("elements: no number that an array can have")
        return plan


def closing_plans(plans: Sequence[WavePlan]) -> dict[int, WavePlan]:
    """For each wave that has ended the plan that settled it: the first later one that does not find it in flight."""
    found: dict[int, WavePlan] = {}
    is_open: set[int] = set()
    for plan in plans:
        found.update((wave, plan) for wave in is_open - {*plan.in_flight})
        is_open = {*plan.in_flight, plan.wave}
    return found


def read_plan(wave: WaveLayout) -> WavePlan:
    """The plan of `wave`, with all that was added to it; raises StudyError if it is missing or damaged."""
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

    A frozen spec that was exchanged for another study's would give the values of trials other meanings.
    """
    try:
        planned = read_first(layout.wave(0)).objectives
    except StudyError:
        return  # nothing is planned yet, or whoever reads the plans will say what is wrong with them
    if planned != tuple(names):
        spec = layout.spec(layout.revisions()[-1])
        raise StudyError(
            f"{spec} has the objectives {', '.join(names)}, but the study was launched with {', '.join(planned)}: "
            "put the file back that launch wrote"
        )


def read_first(wave: WaveLayout) -> WavePlan:
    """The plan as it was made, for whoever only runs a part of it: without verdicts on earlier waves, and additions.

    Raises StudyError if it is missing or damaged.
    """
    return _read(wave, {"settled": []})


def _read(wave: WaveLayout, instead: Mapping[str, Any]) -> WavePlan:
    try:
        data = from_json(wave.plan.read_bytes())
        if not isinstance(data, dict):
            raise ValueError("it holds no plan")
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
    """What each element of the wave runs, as far as it is known: in a refill wave nothing before it has started."""
    if plan.elements is None:
        return dict(enumerate(plan.assignments))
    takers = refill_pool.takers(wave).items()
    return {element: plan.assignments[position] for position, element in takers if position < len(plan.assignments)}


def _cure(wave: WaveLayout) -> str:
    if any(path.exists() for path in (wave.intent, wave.jobs, wave.released)):
        return "restore it from a backup (nothing was changed; the trials' own files hold what they reported)"
    return f"none of its jobs was submitted: move {wave.root} away and run `hposlurm advance` to plan it anew"


def record_plan(wave: WaveLayout, plan: WavePlan) -> bool:
    """Creates the plan of `wave`; False if another planner was first (its plan then holds)."""
    wave.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    return create_once(wave.plan, to_json(plan.to_json()))
