"""Makes the search's past decisions again from the records: the result must be the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

from hposlurm.decisions.choice import problem_of
from hposlurm.decisions.observe import DecisionMemory
from hposlurm.records import refill_pool
from hposlurm.records.assignment import Assignment, Settlement
from hposlurm.records.history import History, as_of
from hposlurm.records.plan import WavePlan, read_first
from hposlurm.search import Answer, next_requests
from hposlurm.trial import Outcome

if TYPE_CHECKING:
    from hposlurm.decisions.warm import WarmStart
    from hposlurm.records.layout import StudyLayout
    from hposlurm.spec import StudySpec


@dataclass(frozen=True, slots=True)
class Moment:
    """One call of the search that led to something, and what was known then."""

    #: the wave that the assignments belong to
    wave: int
    #: by the clock of the process that asked, in epoch seconds
    time: float
    #: the plans that were made before
    plans: tuple[WavePlan, ...]
    #: the settlements that were known by then
    settled: tuple[Settlement, ...]
    #: the waves that were running
    in_flight: frozenset[int]
    #: how many failed attempts a trial might have
    retries: int
    #: what the call led to
    assignments: tuple[Assignment, ...]
    #: of the trials that the search ended
    verdicts: tuple[Settlement, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """The search's answer at a moment, as it follows from the records."""

    answer: Answer
    #: True if nothing was running then. Else only the clocks of the nodes say what was known of the running waves, and
    #: the answer may differ from the one that was given.
    is_exact: bool

    def sends(self, assignment: Assignment) -> bool:
        """True if it has this assignment: the same configuration, trained to the same step.

        The reasons are not compared: another version may have worded them differently.
        """
        return any(
            request.to_step == assignment.to_step
            and request.is_final == assignment.is_final
            and (request.trial == assignment.trial if assignment.stage else request.trial is None)
            and request.params == assignment.params
            for request in self.answer.requests
        )

    def ends(self, settlement: Settlement) -> bool:
        """True if it ends this trial, whatever the wording of the reason."""
        return any(verdict.trial == settlement.trial for verdict in self.answer.verdicts)


def moments(layout: StudyLayout, history: History) -> Iterator[Moment]:
    """Yields every call of the search that led to something, in order."""
    ends: dict[int, float] = {}  # when each wave's last attempt ended, by its node's clock
    for attempt in chain.from_iterable(history.journals.values()):
        ends[attempt.wave] = max(ends.get(attempt.wave, 0.0), attempt.ended_at or 0.0)
    for plan in history.plans:
        batches = list(refill_pool.batches(layout.wave(plan.wave), _first(layout, plan))) if plan.elements else []
        known = _split(plan.settled[: len(plan.settled) - sum(len(b.settled) for b in batches)])
        before = history.plans[: plan.wave]
        outlasting = (wave for wave, end in ends.items() if wave < plan.wave and end > plan.created_at)
        in_flight = frozenset({*plan.in_flight, *outlasting})
        own = plan.assignments[: batches[0].position] if batches else plan.assignments
        yield Moment(plan.wave, plan.created_at, before, known[0], in_flight, plan.retries, own, known[1])
        settled = known[0] + known[1]
        for batch in batches:
            so_far = replace(plan, assignments=plan.assignments[: batch.position], settled=settled)
            running, (freed, ended) = in_flight | {plan.wave}, _split(batch.settled)
            then = (*before, so_far)
            yield Moment(plan.wave, batch.created_at, then, freed, running, plan.retries, batch.assignments, ended)
            settled += batch.settled


def decide_again(
    spec: StudySpec, history: History, moment: Moment, warm: WarmStart, memory: DecisionMemory | None = None
) -> Decision:
    """Asks the search again and returns its answer at a moment. `spec` is the revision that the wave's plan names."""
    before = as_of(history, moment.plans, moment.settled, moment.time, moment.in_flight, moment.retries)
    given = {(assignment.trial, assignment.stage) for p in before.plans for assignment in p.assignments}
    new = sum((a.trial, a.stage) not in given for a in moment.assignments)
    memory = memory or DecisionMemory()
    observations = memory.observer.observe(before, spec.objectives)
    # one more than were assigned: if the search gave fewer than were wanted, its answer has the reason
    answer = next_requests(problem_of(spec, warm.trials, memory.search, before), observations, new + 1)
    return Decision(answer, is_exact=not moment.in_flight)


def _first(layout: StudyLayout, plan: WavePlan) -> int:
    return len(read_first(layout.wave(plan.wave)).assignments)


def _split(settled: tuple[Settlement, ...]) -> tuple[tuple[Settlement, ...], tuple[Settlement, ...]]:
    """Returns the settlements of attempts, and the search's verdicts."""
    known = tuple(s for s in settled if s.outcome is not Outcome.PRUNED)
    return known, tuple(s for s in settled if s.outcome is Outcome.PRUNED)
