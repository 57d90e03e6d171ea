"""The study file as frozen, validated data. Checks of single values are here, those across sections in `check`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, GetPydanticSchema
from pydantic_core import core_schema

from hposlurm.space import SearchSpace
from hposlurm.space.expressions import Expression
from hposlurm.space.expressions import parse as parse_expression
from hposlurm.space.metric_constraints import MEASURED, Limits
from hposlurm.spec.definitions import Conditional, Definition, conditional_parameters, mutable_names
from hposlurm.spec.ends import ends_by
from hposlurm.spec.entries import Forbidden, MetricName, Terminator, forbidding
from hposlurm.spec.fields import (
    Command,
    MemoryGb,
    Minutes,
    NodeCount,
    Number,
    PositiveNumber,
    PositiveWhole,
    Scalar,
    Seconds,
    Section,
    StudyName,
    Switch,
    Text,
    Whole,
)
from hposlurm.spec.order import dependency_order
from hposlurm.spec.publishing import DEFAULT as DEFAULT_PUBLISHERS
from hposlurm.spec.publishing import PublishSection
from hposlurm.spec.search import SearchSpec
from hposlurm.spec.simulation import SimulationSpec
from hposlurm.trial import Direction, Objective, ParamValue

if TYPE_CHECKING:
    from hposlurm.render.trial import CommandTemplate


class ObjectiveEntry(Section):
    name: Text
    direction: Direction = Direction.MINIMIZE
    weight: PositiveNumber = 1.0


# Validated as the section above, kept as the search's own word
_ObjectiveField = Annotated[
    Objective,
    GetPydanticSchema(
        lambda _, handler: core_schema.no_info_after_validator_function(
            lambda entry: Objective(entry.name, entry.direction, entry.weight),
            handler(ObjectiveEntry),
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda objective: {
                    "name": objective.metric,
                    "direction": objective.direction.value,
                    **({} if objective.weight == 1 else {"weight": objective.weight}),
                }
            ),
        )
    ),
]


class BudgetSpec(Section):
    """What ends a study, whichever comes first; nothing at all means the whole grid, and is allowed for a grid only.

    `wall_time` in the file: "6:00:00", "2d" or a number of minutes; it counts from the first wave's plan. `patience` is
    in trials, `target` a value of the first objective, `terminator` Optuna's rule (true, or an evaluation's noise).
    More than `confirm_gpu_hours` are launched only when somebody says yes.
    """

    n_trials: PositiveWhole | None = None
    gpu_hours: PositiveNumber | None = None
    wall_time_min: Minutes | None = Field(default=None, alias="wall_time")
    patience: PositiveWhole | None = None
    target: Number | None = None
    terminator: Terminator | None = None
    confirm_gpu_hours: Annotated[Number, Field(ge=0)] | None = None

    @property
    def may_end_early(self) -> bool:
        """True if results or the time may end a study before all of its trials have run."""
        ends = (self.wall_time_min, self.patience, self.target, self.terminator or None)
        return any(end is not None for end in ends)


class WavesSpec(Section):
    """`size` None leaves the size of a wave to the planner. How waves follow each other: see assignments/modes.py."""

    size: PositiveWhole | None = None
    max_concurrent: PositiveWhole | None = None
    mode: Literal["auto", "barrier", "overlap", "refill"] = "auto"


class DeepSpeedSpec(Section):
    zero_stage: Annotated[Whole, Field(ge=0, le=3)] = 2
    offload: Literal["none", "cpu"] = "none"


class TrialSpec(Section):
    """`timeout` in the file: "30m", "1:30:00" or a number of seconds.

    `memory_warning_pct` is a share, 0.95; `memory_grace_steps` are looks at the memory, one a second. With
    `keep_checkpoints` the planner deletes those of finished trials, except of so many best ones; without, it deletes
    none. `checkpoint_gb` is what all checkpoints of one trial use, for the estimate of the disk alone.
    """

    command: Command
    timeout_s: Seconds | None = Field(default=None, alias="timeout")
    retries: Annotated[Whole, Field(ge=0)] = 0
    memory_guard: Switch = "on"
    memory_warning_pct: Annotated[Number, Field(gt=0, le=1)] = 0.95
    memory_grace_steps: Annotated[Whole, Field(ge=0, le=3600)] = 5
    keep_checkpoints: Annotated[Whole, Field(ge=0)] | None = None
    checkpoint_gb: PositiveNumber | None = None
    metric_pattern: Text | None = None
    workdir: Text | None = None
    deepspeed: DeepSpeedSpec | None = None


class ResourcesSpec(Section):
    """Of one trial. `time` in the file: "00:30:00", "30m" or a number of minutes, as in Slurm; rounded up."""

    nodes: NodeCount = 1
    gpus_per_node: Annotated[Whole, Field(ge=0)] = 0
    gpu_type: Text | None = None
    gpu_memory_gb: PositiveNumber | None = None
    cpus_per_task: PositiveWhole = 1
    mem_gb: MemoryGb | None = None
    time_min: Minutes = Field(default=60, alias="time")

    @property
    def gpu_hours(self) -> float:
        """GPU hours of one trial's job that runs to its time limit."""
        return self.nodes * self.gpus_per_node * self.time_min / 60

    @property
    def facts(self) -> dict[str, ParamValue]:
        """What conditions, constraints and the command may use; what is not set in the file is not there."""
        facts: dict[str, ParamValue] = {
            "gpus": self.nodes * self.gpus_per_node,
            "nodes": self.nodes,
            "gpus_per_node": self.gpus_per_node,
            "cpus_per_task": self.cpus_per_task,
            "mem_gb": self.mem_gb,
            "gpu_memory_gb": self.gpu_memory_gb,
        }
        return {name: value for name, value in facts.items() if value is not None}


class PlannerSpec(Section):
    """What the tiny job between two waves asks for."""

    partition: Text | None = None
    time_min: Minutes = Field(default=10, alias="time")
    mem_gb: MemoryGb = 2
    cpus_per_task: PositiveWhole = 1


class SlurmSpec(Section):
    """How the study's jobs are submitted; `driver` is who submits the waves behind the first one.

    planner: a small job behind each wave. chain: nobody, all are submitted at once and learn late what they run.
    foreground: the process that launched the study, which stays.
    """

    partition: Text | None = None
    account: Text | None = None
    qos: Text | None = None
    constraint: Text | None = None
    exclude: Text | None = None
    setup: tuple[Text, ...] = ()
    driver: Literal["planner", "chain", "foreground"] = "planner"
    extra: dict[str, Scalar] = Field(default={})
    template: Text | None = None
    planner: PlannerSpec = PlannerSpec()


class StudySpec(Section):
    """A whole study file. `space` is its search space, ready to be sampled, `limits` are those on measured metrics."""

    name: StudyName
    tags: dict[Text, Text] = Field(default={})
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
    slurm: SlurmSpec = SlurmSpec()
    simulation: SimulationSpec | None = None
    publish: PublishSection = DEFAULT_PUBLISHERS

    @property
    def command_template(self) -> CommandTemplate:
        """What the trials' commands are rendered from."""
        from hposlurm.render.trial import CommandTemplate  # Jinja2, which a reader of the spec does not need

        return CommandTemplate(
            self.trial.command, self.resources.facts, self.search.max_resource, self.trial.deepspeed is not None
        )

    @property
    def ends_by(self) -> frozenset[str]:
        """What ends the study for certain: keys of `budget`, and algorithms that end by themselves."""
        budget = self.budget.model_dump(by_alias=True, exclude_none=True)
        return ends_by(budget, self.search.pair)

    @property
    def has_one_queue(self) -> bool:
        """True if one process gives each free slot to whatever waits; each wave on Slurm has its share of the slots."""
        return self.backend in ("local", "simulated")

    @property
    def mutable(self) -> frozenset[str]:
        """The parameters that may change while a model is trained."""
        return frozenset(mutable_names(self.parameters, self.conditionals))

    @property
    def space(self) -> SearchSpace:
        """The search space, parameters in an order in which every condition's names come first."""
        parameters = {name: d.parameter(name, None) for name, d in self.parameters.items()}
        for conditional in self.conditionals:
            parameters |= conditional_parameters(conditional, "")
        needs = {name: p.condition.names if p.condition else frozenset[str]() for name, p in parameters.items()}
        ordered, _ = dependency_order(needs)
        allowed = [parse_expression(text) for text in self.constraints]
        allowed = [expression for expression in allowed if not self._is_limit(expression)]
        allowed += [parse_expression(forbidding(clause)) for clause in self.forbidden]
        facts = self.resources.facts
        return SearchSpace(tuple(parameters[name] for name in ordered), tuple(allowed), facts, self.limits)

    def _is_limit(self, expression: Expression) -> bool:
        return not expression.names <= {*self.parameter_names, *self.resources.facts}

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """All of them, conditional ones included, in the order of the study file."""
        return (*self.parameters, *(name for c in self.conditionals for name in conditional_parameters(c, "")))

    @property
    def limits(self) -> Limits:
        """The constraints that name a metric."""
        expressions = (parse_expression(text) for text in self.constraints)
        limits = tuple(expression for expression in expressions if self._is_limit(expression))
        known = {*self.parameter_names, *self.resources.facts}
        named = (*(objective.metric for objective in self.objectives), *self.metrics)
        metrics = metric_names(named, self.trial.metric_pattern)
        return Limits(limits, frozenset(metrics - known), self.resources.facts)


def metric_names(named: Iterable[str], pattern: str | None) -> set[str]:
    """The metrics that a constraint may name: measured ones, `named` ones, the groups of the output's pattern."""
    groups = re.compile(pattern).groupindex.keys() - {"step"} if pattern else set()
    return {*MEASURED, *named, *groups}
