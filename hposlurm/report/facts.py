"""The few facts of a study's spec that an overview needs, as plain data, so that reading them needs no spec."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hposlurm.records.thinning import NOTHING, Needed
from hposlurm.report.budget import BudgetLimits
from hposlurm.space.expressions import parse
from hposlurm.space.metric_constraints import NO_LIMITS, Limits
from hposlurm.trial import Objective, ParamValue

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec


@dataclass(frozen=True, slots=True)
class LimitTexts:
    """The limits on metrics, before their expressions are parsed."""

    expressions: tuple[str, ...] = ()
    #: the real name of what cannot be written in an expression as it is
    names: Mapping[str, str] = field(default_factory=dict)
    metrics: tuple[str, ...] = ()
    facts: Mapping[str, ParamValue] = field(default_factory=dict)

    def parsed(self) -> Limits:
        """Returns the limits. Raises ValueError for a text that is not an expression."""
        if not self.expressions:
            return NO_LIMITS
        expressions = tuple(parse(text, self.names) for text in self.expressions)
        return Limits(expressions, frozenset(self.metrics), self.facts)


@dataclass(frozen=True, slots=True)
class StudyFacts:
    """The facts of a spec."""

    name: str
    backend: str
    objectives: tuple[Objective, ...]
    limits: LimitTexts
    budget: BudgetLimits
    tags: Mapping[str, str]
    #: the number of trials that the study will have; None if unknown
    total: int | None
    #: the reports that decisions need
    needed: Needed = NOTHING
    #: what it costs if trials go past the step at which they are compared, and what to do
    past_step_advice: str = ""


def facts_of(spec: StudySpec) -> StudyFacts:
    """Returns the facts of `spec`."""
    from hposlurm.decisions import needed_of, trials_wanted
    from hposlurm.report.remarks import past_step_advice

    limits, budget = spec.limits, spec.budget
    texts = tuple(str(expression) for expression in limits.expressions)
    names = {name: real for name, real in spec.written_names.items() if texts}
    return StudyFacts(
        name=spec.name,
        backend=spec.backend,
        objectives=tuple(spec.objectives),
        limits=LimitTexts(texts, names, tuple(sorted(limits.metrics)), dict(limits.facts)) if texts else LimitTexts(),
        budget=BudgetLimits(budget.n_trials, budget.gpu_hours, budget.wall_time_min, budget.patience, budget.target),
        tags=dict(spec.tags),
        total=trials_wanted(spec),
        needed=needed_of(spec),
        past_step_advice=past_step_advice(spec.search),
    )
