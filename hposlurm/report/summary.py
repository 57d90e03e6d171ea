"""`summary.json`: what an overview needs of the trials that are over for good. Written at each publication.

It is only a shortcut: one that is missing, damaged or out of date is as none, and everything is then read. Newer plans,
batches and journals are read on top of it.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Container, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from hposlurm.errors import StudyError
from hposlurm.records.decode import structure
from hposlurm.records.files import from_json, publish, to_json
from hposlurm.records.history import History
from hposlurm.records.layout import StudyLayout
from hposlurm.records.partial import final_trials, read_open
from hposlurm.records.plan import WavePlan, read_first, read_plan
from hposlurm.records.reading import read_whole
from hposlurm.records.refill_pool import batches
from hposlurm.records.spent import ranges_of
from hposlurm.report.digest import Digest
from hposlurm.report.facts import StudyFacts
from hposlurm.report.notices.notice import Notice
from hposlurm.report.records import StudyRecords, read_records
from hposlurm.report.view import StudyView, view_of
from hposlurm.trial import TrialState

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec

#: The format that is written and read.
FORMAT = 1
# A larger number of trials is damage
_MOST_TRIALS = 10_000_000


@dataclass(frozen=True, slots=True)
class Sources:
    """The records that a summary is about. Where they changed, it no longer counts."""

    #: the file of the spec's newest revision, and the digest of its content
    spec: str
    spec_digest: str
    #: the sizes of all plans in bytes, and the digest of the last one
    plans: tuple[int, ...]
    last_plan: str
    #: the orders to run trials again
    orders: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """The content of `summary.json`."""

    sources: Sources
    facts: StudyFacts
    #: the trials that are over for good, as ranges with both ends
    final: tuple[tuple[int, int], ...]
    digest: Digest
    #: the refill waves to which assignments may be added, each with the number that it had
    pools: Mapping[str, int] = field(default_factory=dict)
    notices: tuple[Notice, ...] = ()
    #: the plans without the final trials
    plans: tuple[WavePlan, ...] = ()


class _Ranges(Container[int]):
    """The numbers in ascending ranges, which are not counted out: a damaged file may have huge ones."""

    def __init__(self, ranges: Sequence[tuple[int, int]]) -> None:
        self._begins, self._ends = [first for first, _ in ranges], [last for _, last in ranges]

    def __contains__(self, number: object) -> bool:
        place = bisect_right(self._begins, number) - 1 if isinstance(number, int) else -1
        return place >= 0 and isinstance(number, int) and number <= self._ends[place]


# ---- writing


def write_summary(records: StudyRecords) -> None:
    """Replaces the study's summary. Raises OSError if it cannot be written."""
    if not records.history.plans:
        return
    publish(records.layout.summary, to_json(_to_data(summary_of(records))), is_durable=False)


def summary_of(records: StudyRecords) -> Summary:
    """Returns the summary of a study all of whose records were read."""
    layout, history, view = records.layout, records.history, view_of(records)
    final = final_trials(history)
    return Summary(
        sources=sources_of(layout, len(history.plans)),
        facts=view.facts,
        final=ranges_of(sorted(final)),
        digest=view.rest,
        pools={str(p.wave): len(p.assignments) for p in history.in_flight if p.elements is not None and not p.over},
        notices=view.notices,
        plans=tuple(
            replace(plan, assignments=tuple(a for a in plan.assignments if a.trial not in final))
            for plan in view.history.plans
        ),
    )


def sources_of(layout: StudyLayout, plans: int) -> Sources:
    """Returns the state of the records that a summary of the first `plans` plans is about."""
    spec = layout.spec(layout.revisions()[-1])
    waves = [layout.wave(index).plan for index in range(plans)]
    sizes = tuple(path.stat().st_size for path in waves)
    return Sources(
        spec.name, _digest(read_whole(spec)), sizes, _digest(read_whole(waves[-1])), (*layout.retry_orders(),)
    )


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _to_data(summary: Summary) -> dict[str, Any]:
    data = asdict(replace(summary, plans=()))
    return {"format": FORMAT, **data, "plans": [_short(plan) for plan in summary.plans]}


def _short(plan: WavePlan) -> dict[str, Any]:
    """Returns a plan without commands, which are not run from here, and without the usual values."""
    own = tuple(replace(a, command="", command_resumed=None) for a in plan.assignments)
    data = replace(plan, assignments=own).to_json()
    usual = {each.name: each.default for each in fields(WavePlan) if each.default is not MISSING}
    return {name: value for name, value in data.items() if name not in usual or value != usual[name]}


# ---- reading


def read_view(layout: StudyLayout, spec: StudySpec | None = None) -> StudyView:
    """Returns the view of a study: by its summary and the open trials, or by all its records if that cannot be.

    Its notices are those of the last publication, if there is a summary. Give `spec` if it is known. Raises StudyError
    or SpecError if the records cannot be read.
    """
    seen = read_seen(layout, spec)
    return seen if isinstance(seen, StudyView) else view_of(seen)


def read_seen(
    layout: StudyLayout,
    spec: StudySpec | None = None,
    after: StudyRecords | StudyView | None = None,
    *,
    whole: bool = False,
) -> StudyRecords | StudyView:
    """Returns a study as it is now: a view by its summary, or all its records if that cannot be, or if `whole`.

    Where `after` are earlier records of the study, reading continues after them. Raises as `read_view` does.
    """
    found = None if whole else by_summary(layout)
    if found is not None:
        return found[1]
    return read_records(layout, spec, after if isinstance(after, StudyRecords) else None)


def by_summary(layout: StudyLayout) -> tuple[Summary, StudyView] | None:
    """Returns the summary of a study and the view by it; None if there is none that counts."""
    try:
        data = from_json(read_whole(layout.summary))
        if not isinstance(data, dict) or data.pop("format", None) != FORMAT:
            return None
        plans = tuple(WavePlan.from_json(plan) for plan in data.pop("plans"))
        summary = replace(structure(Summary, data), plans=plans)
        view = _read_on(layout, summary) if _is_sound(summary) else None
        return None if view is None else (summary, view)
    except (OSError, StudyError, ValueError, TypeError, LookupError, AttributeError):
        return None


def _read_on(layout: StudyLayout, summary: Summary) -> StudyView | None:
    """Returns the view by `summary` and everything newer; None if something newer concerns what it has summed up."""
    known, waves = len(summary.plans), layout.waves()
    if waves != list(range(max(known, len(waves)))) or sources_of(layout, known) != summary.sources:
        return None
    final = _Ranges(summary.final)
    old, new = _with_batches(layout, summary), tuple(read_plan(layout.wave(wave)) for wave in waves[known:])
    added = (*new, *(plan for plan, before in zip(old, summary.plans, strict=True) if plan is not before))
    touched = {a.trial for plan in added for a in plan.assignments} | {s.trial for plan in added for s in plan.settled}
    rules = {(p.objectives, p.value_rules, p.retries, p.max_resource) for p in (old[-1], *new)}
    if len(rules) > 1 or any(trial in final for trial in touched):
        return None
    facts = summary.facts
    facts.limits.parsed()  # raises if it is damaged
    history = read_open(layout, _with_jobs(layout, (*old, *new)), final, facts.needed)
    return StudyView(layout, facts, history, summary.digest, summary.notices)


def _with_batches(layout: StudyLayout, summary: Summary) -> tuple[WavePlan, ...]:
    """Returns the summary's plans with what was added to the pools of refill waves since."""
    plans = list(summary.plans)
    for name, position in summary.pools.items():
        wave = int(name)
        for batch in batches(layout.wave(wave), position):
            plan = plans[wave]
            plans[wave] = replace(
                plan,
                assignments=(*plan.assignments, *batch.assignments),
                settled=(*plan.settled, *batch.settled),
                notes=(*plan.notes, *batch.notes),
                over=batch.over,
            )
    return tuple(plans)


def _with_jobs(layout: StudyLayout, plans: tuple[WavePlan, ...]) -> tuple[WavePlan, ...]:
    """Returns the plans; those in flight with all assignments if their number is that of their jobs."""
    whole = {plan.wave for plan in History(plans=plans).in_flight if plan.elements is None}
    return tuple(
        replace(plan, assignments=read_first(layout.wave(plan.wave)).assignments) if plan.wave in whole else plan
        for plan in plans
    )


def _is_sound(summary: Summary) -> bool:
    """True if the numbers fit together, so that nothing is counted to a number that a damaged file has."""
    digest, plans = summary.digest, summary.plans
    total = sum(digest.counts.values())
    names = (*digest.past.finished, *digest.ended_at, *digest.unreadable, *digest.left_out, *summary.pools)
    numbers = (*digest.counts.values(), *digest.nodes.completed.values())
    return (
        bool(plans)
        and bool(summary.facts.objectives)
        and [plan.wave for plan in plans] == list(range(len(plans)))
        and total <= _MOST_TRIALS
        and {*digest.counts} <= {str(state) for state in TrialState}
        and all(name.isdecimal() for name in names)
        and all(0 <= number <= total for number in numbers)
        and all(first <= last for first, last in summary.final)
        and sum(last - first + 1 for first, last in summary.final) == total
        and all(len(leader.values) == len(summary.facts.objectives) for leader in digest.leaders)
    )
