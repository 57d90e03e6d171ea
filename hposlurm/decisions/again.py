"""What the search decided once, decided again from the records: it must come to the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

from hposlurm.decisions.choice import problem_of
from hposlurm.decisions.observe import DecisionMemory
from hposlurm.records import refill_pool
from hposlurm.records.history import History, as_of
from hposlurm.records.plan import WavePlan, read_first
from hposlurm.search import Answer, next_requests
from hposlurm.trial import Assignment, Outcome, Settlement

if TYPE_CHECKING:
    from hposlurm.decisions.warm import WarmStart
    from hposlurm.records.layout import StudyLayout
    from hposlurm.spec import StudySpec


@dataclass(frozen=True, slots=True)
class Moment:
    """When the search was asked: at `time` by the clock of whoever asked, with `plans` made before.

    It led to `assignments`. `settled` was known by then, `verdicts` are what it said of trials that it ended.
    `in_flight` are the waves that were running.
    """

    wave: int
    time: float
    plans: tuple[WavePlan, ...]
    settled: tuple[Settlement, ...]
    in_flight: frozenset[int]
    assignments: tuple[Assignment, ...]
    verdicts: tuple[Settlement, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """The search's answer at a moment, as it follows from the records.

    `is_exact`: nothing was running then. Else what was known of the running waves is only what the clocks of their
    nodes say, and the answer may differ from the one that was given.
    """

    answer: Answer
    is_exact: bool

    def sends(self, assignment: Assignment) -> bool:
        """Whether it has this assignment: the same configuration, as far, for the same reason."""
        return any(
            request.to_step == assignment.to_step
            and request.is_final == assignment.is_final
            and request.why == assignment.why
            and (request.trial == assignment.trial if assignment.stage else request.trial is None)
            and request.params == assignment.params
            for request in self.answer.requests
        )

    def ends(self, settlement: Settlement) -> bool:
        """True if it ends this trial for the same reason."""
        said = None if settlement.cause is None else settlement.cause.detail
        return any(v.trial == settlement.trial and v.reason == said for v in self.answer.verdicts)


def moments(layout: StudyLayout, history: History) -> Iterator[Moment]:
    """Every time that the search was asked and something came of it, in order."""
    ends: dict[int, float] = {}  # when each wave's last attempt ended, as its node's clock says
    for attempt in chain.from_iterable(history.journals.values()):
        ends[attempt.wave] = max(ends.get(attempt.wave, 0.0), attempt.ended_at or 0.0)
    for plan in history.plans:
        batches = list(refill_pool.batches(layout.wave(plan.wave), _first(layout, plan))) if plan.elements else []
        known = _split(plan.settled[: len(plan.settled) - sum(len(b.settled) for b in batches)])
        before = history.plans[: plan.wave]
        outlasting = (wave for wave, end in ends.items() if wave < plan.wave and end > plan.created_at)
        in_flight = frozenset({*plan.in_flight, *outlasting})
        own = plan.assignments[: batches[0].position] if batches else plan.assignments
        yield Moment(plan.wave, plan.created_at, before, known[0], in_flight, own, known[1])
        said = known[0] + known[1]
        for batch in batches:
            so_far = replace(plan, assignments=plan.assignments[: batch.position], settled=said)
            running, (freed, ended) = in_flight | {plan.wave}, _split(batch.settled)
            yield Moment(plan.wave, batch.created_at, (*before, so_far), freed, running, batch.assignments, ended)
            said += batch.settled


def decide_again(
    spec: StudySpec, history: History, moment: Moment, warm: WarmStart, memory: DecisionMemory | None = None
) -> Decision:
    """The search's answer at a moment, asked for anew. `spec` is the revision that the wave's plan names."""
    before = as_of(history, moment.plans, moment.settled, moment.time, moment.in_flight)
    given = {(assignment.trial, assignment.stage) for p in before.plans for assignment in p.assignments}
    new = sum((a.trial, a.stage) not in given for a in moment.assignments)
    memory = memory or DecisionMemory()
    observations = memory.observer.observe(before, spec.objectives)
    # one more than were given: where there were fewer than wanted, that shows why
    answer = next_requests(problem_of(spec, warm.trials, memory.search), observations, new + 1)
    return Decision(answer, is_exact=not moment.in_flight)


def _first(layout: StudyLayout, plan: WavePlan) -> int:
    return len(read_first(layout.wave(plan.wave)).assignments)


def _split(settled: tuple[Settlement, ...]) -> tuple[tuple[Settlement, ...], tuple[Settlement, ...]]:
    """What was known of attempts, and the search's verdicts."""
    known = tuple(s for s in settled if s.outcome is not Outcome.PRUNED)
    return known, tuple(s for s in settled if s.outcome is Outcome.PRUNED)
