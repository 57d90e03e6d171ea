"""What the search decided for a wave, decided again from the records: it must come to the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hposlurm.assignments.choice import problem_of
from hposlurm.assignments.observe import observe
from hposlurm.history import History, as_of
from hposlurm.search import Answer, next_jobs
from hposlurm.trial import Assignment, Outcome, Settlement

if TYPE_CHECKING:
    from hposlurm.assignments.warm import WarmStart
    from hposlurm.spec import StudySpec


@dataclass(frozen=True, slots=True)
class Decision:
    """The search's answer when a wave was planned, as it follows from the records.

    `is_exact`: nothing was running then. Else what was known of the running trials is only what the clocks of their
    nodes say, and the answer may differ from the one that was given.
    """

    answer: Answer
    is_exact: bool

    def sends(self, assignment: Assignment) -> bool:
        """Whether it has this assignment: the same configuration, as far, for the same reason."""
        return any(
            job.to_step == assignment.to_step
            and job.is_final == assignment.is_final
            and job.why == assignment.why
            and (job.trial == assignment.trial if assignment.stage else job.trial is None)
            and job.params == assignment.params
            for job in self.answer.jobs
        )

    def ends(self, settlement: Settlement) -> bool:
        """Whether it ends this trial for the same reason."""
        return any(v.trial == settlement.trial and v.reason == settlement.reason for v in self.answer.verdicts)


def decide_again(spec: StudySpec, history: History, wave: int, warm: WarmStart) -> Decision:
    """The decision for a planned wave, made anew. `spec` is the revision that the plan names."""
    plan = history.plans[wave]
    before = as_of(history, wave, plan.in_flight)
    given = {(assignment.trial, assignment.stage) for p in before.plans for assignment in p.assignments}
    new = sum((a.trial, a.stage) not in given for a in plan.assignments)
    observations = observe(before, spec.objectives)
    # one more than were given: where there were fewer than wanted, that shows why
    answer = next_jobs(problem_of(spec, warm.trials), observations, new + 1)
    # what an element of a refill wave took may have been proposed while others ran
    return Decision(answer, is_exact=not plan.in_flight and plan.elements is None)


def verdict_on(history: History, trial: int) -> tuple[int, Settlement] | None:
    """The wave whose plan ended a trial by the search's verdict, and that verdict; None if none did."""
    for plan in history.plans:
        for settlement in plan.settled:
            if settlement.trial == trial and settlement.outcome is Outcome.PRUNED:
                return plan.wave, settlement
    return None
