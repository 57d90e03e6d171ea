"""An entry of the section `objectives`: a metric, or a score that is computed from several."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from hposlurm.spec.fields import Number, PositiveNumber, Section, Text, complaint
from hposlurm.trial import SCORE, CountedReport, Direction, Efficiency, Objective, Term


class EfficiencyEntry(Section):
    """score = value · (1 + weight · metric / budget).

    Of a value to maximise: value / (1 + weight · metric / budget).
    """

    metric: Text
    budget: PositiveNumber
    weight: Annotated[Number, Field(ge=0)] = 1.0


class TermEntry(Section):
    """A part of a weighted sum: weight · metric / scale. A metric to maximise has a negative weight."""

    weight: Number = 1.0
    scale: PositiveNumber = 1.0


class ObjectiveEntry(Section):
    name: Text
    direction: Direction = Direction.MINIMIZE
    weight: PositiveNumber = 1.0
    report: CountedReport = CountedReport.LAST
    efficiency: EfficiencyEntry | None = None
    #: The parts of the sum by their metrics; `name` is then the name of the score.
    sum: dict[Text, TermEntry] | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _one_formula(self) -> ObjectiveEntry:
        if self.efficiency is not None and self.sum is not None:
            raise complaint("has both efficiency and sum; write the sum of the parts with their weights")
        if self.sum is not None and self.name in self.sum:
            raise complaint(f"the sum {self.name!r} cannot be a part of itself; give it another name")
        if self.efficiency is not None and self.efficiency.metric == self.name:
            raise complaint("efficiency.metric must be another metric than the objective's own")
        return self

    @property
    def objective(self) -> Objective:
        """Returns the search's objective: its metric is the score where there is one."""
        terms = tuple(Term(metric, term.weight, term.scale) for metric, term in (self.sum or {}).items())
        given = self.efficiency
        cost = None if given is None else Efficiency(given.metric, given.budget, given.weight)
        metric = self.name if cost is None else f"{self.name}{SCORE}"
        return Objective(metric, self.direction, self.weight, self.report, cost, terms)


def dumped_objective(objective: Objective) -> dict[str, Any]:
    """Returns an objective as it is written in a study file."""
    cost, terms = objective.efficiency, objective.terms
    found: dict[str, Any] = {"name": objective.value_metric, "direction": objective.direction.value}
    if objective.weight != 1:
        found["weight"] = objective.weight
    found["report"] = objective.report.value
    if cost is not None:
        found["efficiency"] = {"metric": cost.metric, "budget": cost.budget, "weight": cost.weight}
    if terms:
        found["sum"] = {term.metric: {"weight": term.weight, "scale": term.scale} for term in terms}
    return found
