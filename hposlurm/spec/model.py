"""The study file as frozen, validated data. Single values are checked here, the sections together in `check`."""

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
from hposlurm.spec.entries import Failures, Forbidden, MetricName, Terminator, forbidding
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
from hposlurm.trial import CountedReport, Direction, Objective, ParamValue

if TYPE_CHECKING:
    from hposlurm.render.trial import CommandTemplate


class ObjectiveEntry(Section):
    name: Text
    direction: Direction = Direction.MINIMIZE
    weight: PositiveNumber = 1.0
    report: CountedReport = CountedReport.LAST


# Validated as the section above, kept as the search's type
_ObjectiveField = Annotated[
    Objective,
    GetPydanticSchema(
        lambda _, handler: core_schema.no_info_after_validator_function(
            lambda entry: Objective(entry.name, entry.direction, entry.weight, entry.report),
            handler(ObjectiveEntry),
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda objective: {
                    "name": objective.metric,
                    "direction": objective.direction.value,
                    **({} if objective.weight == 1 else {"weight": objective.weight}),
                    "report": objective.report.value,
                }
            ),
        )
    ),
]


class BudgetSpec(Section):
    """The limits of a study; the first one that is reached ends it.

    Only an algorithm that ends by itself needs none.
    """

    n_trials: PositiveWhole | None = None
    gpu_hours: PositiveNumber | None = None
    #: In the file: "6:00:00", "2d" or a number of minutes; counts from the first wave's plan.
    wall_time_min: Minutes | None = Field(default=None, alias="wall_time")
    #: A number of trials without improvement.
    patience: PositiveWhole | None = None
    #: A value of the first objective.
    target: Number | None = None
    #: Optuna's terminator: true, or the noise of an evaluation.
    terminator: Terminator | None = None
    #: The number of failed trials, or their share of those that have ended, at which the study pauses.
    max_failures: Failures | None = None
    #: Launching a study that may cost more needs a confirmation.
    confirm_gpu_hours: Annotated[Number, Field(ge=0)] | None = None

    @property
    def may_end_early(self) -> bool:
        """True if results or the time may end a study before all of its trials have run."""
        ends = (self.wall_time_min, self.patience, self.target, self.terminator or None, self.max_failures)
        return any(end is not None for end in ends)


class WavesSpec(Section):
    """The size of waves, and how they follow each other."""

    #: None: the planner chooses.
    size: PositiveWhole | None = None
    #: The number of trials that run at a time; None: no limit.
    max_concurrent: PositiveWhole | None = None
    #: See decisions/modes.py.
    mode: Literal["auto", "barrier", "overlap", "refill"] = "auto"


class DeepSpeedSpec(Section):
    zero_stage: Annotated[Whole, Field(ge=0, le=3)] = 2
    offload: Literal["none", "cpu"] = "none"


class TrialSpec(Section):
    """The command of a trial and the rules for running it."""

    command: Command
    #: In the file: "30m", "1:30:00" or a number of seconds.
    timeout_s: Seconds | None = Field(default=None, alias="timeout")
    retries: Annotated[Whole, Field(ge=0)] = 0
    memory_guard: Switch = "on"
    #: A share, not a percentage.
    memory_warning_pct: Annotated[Number, Field(gt=0, le=1)] = 0.95
    #: Measurements of the memory, one per second.
    memory_grace_steps: Annotated[Whole, Field(ge=0, le=3600)] = 5
    #: The number of best trials whose checkpoints the planner keeps when trials have finished; None: it deletes none.
    keep_checkpoints: Annotated[Whole, Field(ge=0)] | None = None
    #: The space that all checkpoints of one trial use; only for the estimate of the disk.
    checkpoint_gb: PositiveNumber | None = None
    metric_pattern: Text | None = None
    workdir: Text | None = None
    deepspeed: DeepSpeedSpec | None = None


class ResourcesSpec(Section):
    """The resources of one trial."""

    nodes: NodeCount = 1
    gpus_per_node: Annotated[Whole, Field(ge=0)] = 0
    gpu_type: Text | None = None
    gpu_memory_gb: PositiveNumber | None = None
    cpus_per_task: PositiveWhole = 1
    mem_gb: MemoryGb | None = None
    #: In the file: "00:30:00", "30m" or a number of minutes, as in Slurm; rounded up.
    time_min: Minutes = Field(default=60, alias="time")

    @property
    def gpu_hours(self) -> float:
        """Returns the GPU hours of one trial's job that runs to its time limit."""
        return self.nodes * self.gpus_per_node * self.time_min / 60

    @property
    def facts(self) -> dict[str, ParamValue]:
        """Returns the values that conditions, constraints and the command may use, without those that are not set."""
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
    """The resources of the planner's small job between two waves."""

    partition: Text | None = None
    time_min: Minutes = Field(default=10, alias="time")
    mem_gb: MemoryGb = 2
    cpus_per_task: PositiveWhole = 1


class SlurmSpec(Section):
    """The submission of the study's jobs.

    `driver` submits the waves after the first one:

    - planner: a small job after each wave
    - chain: all waves are submitted at once; each job learns at its start what to run
    - foreground: the process that launched the study, which keeps running
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
    """A whole study file."""

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
        """Returns the template of the trials' commands."""
        from hposlurm.render.trial import CommandTemplate  # imports Jinja2, which a reader of the spec does not need

        return CommandTemplate(
            self.trial.command, self.resources.facts, self.search.max_resource, self.trial.deepspeed is not None
        )

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
        return frozenset(mutable_names(self.parameters, self.conditionals))

    @property
    def space(self) -> SearchSpace:
        """Returns the search space; each parameter comes after those that its condition names."""
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
        """Returns all parameters, including conditional ones, in the order of the study file."""
        return (*self.parameters, *(name for c in self.conditionals for name in conditional_parameters(c, "")))

    @property
    def limits(self) -> Limits:
        """Returns the limits on measured metrics: the constraints that name a metric."""
        expressions = (parse_expression(text) for text in self.constraints)
        limits = tuple(expression for expression in expressions if self._is_limit(expression))
        known = {*self.parameter_names, *self.resources.facts}
        named = (*(objective.metric for objective in self.objectives), *self.metrics)
        metrics = metric_names(named, self.trial.metric_pattern)
        return Limits(limits, frozenset(metrics - known), self.resources.facts)


def metric_names(named: Iterable[str], pattern: str | None) -> set[str]:
    """Returns the metrics that a constraint may name: measured ones, `named` ones, and the groups of `pattern`."""
    groups = re.compile(pattern).groupindex.keys() - {"step"} if pattern else set()
    return {*MEASURED, *named, *groups}
