"""The study file as frozen, validated data. Single values are checked here, the sections together in `check`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, GetPydanticSchema, model_validator
from pydantic_core import core_schema

from hposlurm.space import SearchSpace
from hposlurm.space.constraint import Constraint
from hposlurm.space.expressions import Expression
from hposlurm.space.expressions import parse as parse_expression
from hposlurm.space.metric_constraints import MEASURED, Limits
from hposlurm.space.names import group_metrics, variable
from hposlurm.spec.definitions import Conditional, Definition, all_definitions, conditional_parameters
from hposlurm.spec.ends import ends_by
from hposlurm.spec.entries import Forbidden, MetricName, forbidding
from hposlurm.spec.fields import Section, StudyName, Text
from hposlurm.spec.gpu_memory import GpuMemorySection
from hposlurm.spec.memory_limit import memory_limit
from hposlurm.spec.objective_entry import ObjectiveEntry, dumped_objective
from hposlurm.spec.order import dependency_order
from hposlurm.spec.publishing import DEFAULT as DEFAULT_PUBLISHERS
from hposlurm.spec.publishing import PublishSection
from hposlurm.spec.search import SearchSpec, default_startup
from hposlurm.spec.sections import BudgetSpec, ResourcesSpec, SlurmSpec, TrialSpec, WavesSpec
from hposlurm.spec.simulation import SimulationSpec
from hposlurm.trial import Objective

if TYPE_CHECKING:
    from hposlurm.render.trial import CommandTemplate


# Validated as a section, kept as the search's type
_ObjectiveField = Annotated[
    Objective,
    GetPydanticSchema(
        lambda _, handler: core_schema.no_info_after_validator_function(
            lambda entry: entry.objective,
            handler(ObjectiveEntry),
            serialization=core_schema.plain_serializer_function_ser_schema(dumped_objective),
        )
    ),
]


class StudySpec(Section):
    """A whole study file."""

    name: StudyName
    tags: dict[Text, Text] = Field(default={})
    #: Who may read the study's directory besides its owner.
    share: Literal["private", "group"] = "private"
    backend: Literal["auto", "slurm", "local", "simulated"] = "auto"
    objectives: tuple[_ObjectiveField, ...] = Field(min_length=1)
    parameters: dict[str, Definition] = Field(min_length=1)
    conditionals: tuple[Conditional, ...] = ()
    constraints: tuple[Text, ...] = ()
    forbidden: tuple[Forbidden, ...] = ()
    metrics: tuple[MetricName, ...] = ()
    search: SearchSpec = SearchSpec()
    budget: BudgetSpec = BudgetSpec()
    waves: WavesSpec = WavesSpec()
    trial: TrialSpec
    resources: ResourcesSpec = ResourcesSpec()
    gpu_memory: GpuMemorySection | None = None
    slurm: SlurmSpec = SlurmSpec()
    simulation: SimulationSpec | None = None
    publish: PublishSection = DEFAULT_PUBLISHERS

    @model_validator(mode="before")
    @classmethod
    def _with_startup_trials(cls, data: Any) -> Any:
        """Sets `search.startup_trials` by the budget if the file does not; a frozen spec keeps its number."""
        search, budget = (data.get(key, {}) if isinstance(data, dict) else None for key in ("search", "budget"))
        if not isinstance(search, dict) or not isinstance(budget, dict) or search.get("startup_trials") is not None:
            return data
        count = budget.get("n_trials")
        startup = default_startup(count if isinstance(count, int) else None)
        return {**data, "search": {**search, "startup_trials": startup}}

    @property
    def command_template(self) -> CommandTemplate:
        """Returns the template of the trials' commands."""
        from hposlurm.render.trial import CommandTemplate  # imports Jinja2, which a reader of the spec does not need

        definitions = all_definitions(self.parameters, self.conditionals)
        return CommandTemplate(
            self.trial.script,
            self.resources.facts,
            self.search.max_resource,
            self.trial.deepspeed is not None,
            {name: definition.flag for name, definition in definitions if definition.flag is not None},
            self.command_seed,
            tuple(each.file for each in self.trial.metrics),
        )

    @property
    def command_seed(self) -> int | None:
        """Returns what all trials find as their seed; None if each one finds its own."""
        given = self.trial.seed
        return self.search.seed if given is None else given if isinstance(given, int) else None

    @property
    def ends_by(self) -> frozenset[str]:
        """Returns what is certain to end the study: keys of `budget`, and algorithms that end by themselves."""
        budget = self.budget.model_dump(by_alias=True, exclude_none=True)
        return ends_by(budget, self.search.pair)

    @property
    def has_one_queue(self) -> bool:
        """True if one process gives free slots to trials of any wave; on Slurm each wave has its own slots."""
        return self.backend in ("local", "simulated")

    @property
    def mutable(self) -> frozenset[str]:
        """Returns the parameters that may change while a model is trained."""
        definitions = all_definitions(self.parameters, self.conditionals)
        return frozenset(name for name, definition in definitions if definition.mutable)

    @property
    def space(self) -> SearchSpace:
        """Returns the search space; each parameter comes after those that its condition names."""
        return self.space_with(1.0)

    def space_with(self, memory_factor: float) -> SearchSpace:
        """Returns the search space if trainings need `memory_factor` times the GPU memory that is estimated."""
        parameters = {name: d.parameter(name, None) for name, d in self.parameters.items()}
        names = self.written_names
        for conditional in self.conditionals:
            parameters |= conditional_parameters(conditional, "", names)
        needs = {name: p.condition.names if p.condition else frozenset[str]() for name, p in parameters.items()}
        ordered, _ = dependency_order(needs)
        facts = self.resources.facts
        expressions, known = [parse_expression(text, names) for text in self.constraints], {*parameters, *facts}
        allowed = [expression for expression in expressions if expression.names <= known]
        allowed += [parse_expression(forbidding(clause), names) for clause in self.forbidden]
        limits = self._limits(expressions, known)
        memory = memory_limit(self, [name for name, p in parameters.items() if p.condition is not None], memory_factor)
        constraints: tuple[Constraint, ...] = (*allowed,) if memory is None else (*allowed, memory)
        return SearchSpace(tuple(parameters[name] for name in ordered), constraints, facts, limits)

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Returns all parameters, including conditional ones, in the order of the study file."""
        return tuple(name for name, _ in all_definitions(self.parameters, self.conditionals))

    @property
    def objective_metrics(self) -> tuple[str, ...]:
        """Returns the metrics of the objectives, and those of which scores are computed."""
        names = (name for objective in self.objectives for name in (objective.metric, *objective.reported))
        return tuple(dict.fromkeys(names))

    @property
    def written_names(self) -> dict[str, str]:
        """Returns the parameters and metrics that expressions write in another way, by how they write them."""
        metrics = (*self.objective_metrics, *self.metrics)
        return written_names(self.parameter_names, metrics)

    @property
    def limits(self) -> Limits:
        """Returns the limits on measured metrics: the constraints that name a metric."""
        known = {*self.parameter_names, *self.resources.facts}
        names = self.written_names
        return self._limits([parse_expression(text, names) for text in self.constraints], known)

    def _limits(self, constraints: Iterable[Expression], known: set[str]) -> Limits:
        limits = tuple(expression for expression in constraints if not expression.names <= known)
        named = (*self.objective_metrics, *self.metrics)
        metrics = metric_names(named, self.trial.metric_pattern) | {n for s in self.trial.metrics for n in s.map}
        return Limits(limits, frozenset(metrics - known), self.resources.facts)


def metric_names(named: Iterable[str], pattern: str | None) -> set[str]:
    """Returns the metrics that a constraint may name: measured ones, `named` ones, and the groups of `pattern`."""
    names = set(named)
    return {*MEASURED, *names, *(pattern_metrics(pattern, names) if pattern else ())}


def pattern_metrics(pattern: str, named: Iterable[str]) -> set[str]:
    """Returns the metrics that matches of `trial.metric_pattern` report; raises re.error for an invalid one.

    Groups may stand for the metrics that are `named`.
    """
    groups = {*re.compile(pattern).groupindex} - {"step"}
    return {*group_metrics(groups, named).values()}


def written_names(parameters: Iterable[str], metrics: Iterable[str]) -> dict[str, str]:
    """Returns the names that expressions write in another way, by how they write them; parameters come first."""
    names = (*metrics, *parameters)
    return {written: name for name in names if (written := variable(name)) != name and written not in names}
