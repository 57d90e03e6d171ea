"""The study file as frozen, validated data. Checks of single values are here, those across sections in `check`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, GetPydanticSchema, Tag
from pydantic_core import core_schema

from hposlurm.expressions import Expression
from hposlurm.expressions import parse as parse_expression
from hposlurm.space import UNSET, CategoricalParameter, FloatParameter, IntParameter, Parameter, SearchSpace
from hposlurm.spec.fields import (
    Command,
    MemoryGb,
    Minutes,
    NodeCount,
    Number,
    PositiveNumber,
    PositiveWhole,
    Scalar,
    ScalarOrUnset,
    Seconds,
    Section,
    StudyName,
    Switch,
    Text,
    Whole,
)
from hposlurm.spec.search import SearchSpec
from hposlurm.trial import Direction, Objective, ParamValue

# Whole numbers of a search space stay exact as floats, which samplers and SQLite readers turn them into
_INT_LIMIT = 2**53


class FloatDefinition(Section):
    type: Literal["float"]
    min: Number
    max: Number
    log: bool = False
    step: PositiveNumber | None = None
    default: Number | None = None

    def parameter(self, name: str, condition: Expression | None) -> Parameter:
        return FloatParameter(name, self.min, self.max, self.log, self.step, self.default, condition)


class IntDefinition(Section):
    type: Literal["int"]
    min: Annotated[Whole, Field(ge=-_INT_LIMIT, le=_INT_LIMIT)]
    max: Annotated[Whole, Field(ge=-_INT_LIMIT, le=_INT_LIMIT)]
    log: bool = False
    step: PositiveWhole = 1
    default: Whole | None = None

    def parameter(self, name: str, condition: Expression | None) -> Parameter:
        return IntParameter(name, self.min, self.max, self.log, self.step, self.default, condition)


class CategoricalDefinition(Section):
    """`default` UNSET is none at all; `default: null` is the choice null."""

    type: Literal["categorical"] = "categorical"
    choices: tuple[Scalar, ...]
    default: ScalarOrUnset = UNSET

    def parameter(self, name: str, condition: Expression | None) -> Parameter:
        default = self.default
        if default in self.choices:  # 1.0 given for the choice 1 becomes that choice
            default = self.choices[self.choices.index(default)]
        return CategoricalParameter(name, self.choices, default, condition)


def _definition_type(value: Any) -> str | None:
    """Which definition `value` is meant to be: its `type`, and categorical where only `choices` says so."""
    if not isinstance(value, Mapping):
        return getattr(value, "type", None)
    if "type" in value:
        return str(value["type"])
    return "categorical" if "choices" in value else None


Definition = Annotated[
    Annotated[FloatDefinition, Tag("float")]
    | Annotated[IntDefinition, Tag("int")]
    | Annotated[CategoricalDefinition, Tag("categorical")],
    Discriminator(_definition_type),
]
DEFINITIONS: Mapping[str, type[Section]] = {
    "float": FloatDefinition,
    "int": IntDefinition,
    "categorical": CategoricalDefinition,
}


class Conditional(Section):
    condition: Text = Field(alias="if")
    then: dict[str, Definition] = Field(min_length=1)


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
    in trials. More than `confirm_gpu_hours` are launched only when somebody says yes.
    """

    n_trials: PositiveWhole | None = None
    gpu_hours: PositiveNumber | None = None
    wall_time_min: Minutes | None = Field(default=None, alias="wall_time")
    patience: PositiveWhole | None = None
    confirm_gpu_hours: Annotated[Number, Field(ge=0)] | None = None


class WavesSpec(Section):
    """`size` None leaves the size of a wave to the planner."""

    size: PositiveWhole | None = None
    max_concurrent: PositiveWhole | None = None
    mode: Literal["barrier"] = "barrier"


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
    """A whole study file. `space` is its search space, ready to be sampled."""

    name: StudyName
    tags: dict[Text, Text] = Field(default={})
    backend: Literal["auto", "slurm", "local"] = "auto"
    objectives: tuple[_ObjectiveField, ...] = Field(min_length=1)
    parameters: dict[str, Definition] = Field(min_length=1)
    conditionals: tuple[Conditional, ...] = ()
    constraints: tuple[Text, ...] = ()
    search: SearchSpec = SearchSpec()
    budget: BudgetSpec = BudgetSpec()
    waves: WavesSpec = WavesSpec()
    trial: TrialSpec
    resources: ResourcesSpec = ResourcesSpec()
    slurm: SlurmSpec = SlurmSpec()
    publish: tuple[Literal["sqlite", "csv"], ...] = ("sqlite", "csv")

    @property
    def space(self) -> SearchSpace:
        """The search space, parameters in an order in which every condition's names come first."""
        parameters = {name: d.parameter(name, None) for name, d in self.parameters.items()}
        for conditional in self.conditionals:
            condition = parse_expression(conditional.condition)
            parameters |= {name: d.parameter(name, condition) for name, d in conditional.then.items()}
        needs = {name: p.condition.names if p.condition else frozenset[str]() for name, p in parameters.items()}
        ordered, _ = dependency_order(needs)
        constraints = tuple(parse_expression(text) for text in self.constraints)
        return SearchSpace(tuple(parameters[name] for name in ordered), constraints, self.resources.facts)


def dependency_order(needs: Mapping[str, frozenset[str]]) -> tuple[list[str], list[str]]:
    """The names of `needs`, each behind those that it needs, else in the given order; and one cycle, if there is any.

    Names that are needed but not in `needs` do not count. A cycle [a, b] means that a needs b and b needs a.
    """
    ordered: list[str] = []
    placed: set[str] = set()
    waiting = list(needs)
    while waiting:
        ready = [name for name in waiting if all(n in placed or n not in needs for n in needs[name])]
        if not ready:
            return ordered, _cycle(waiting, needs, placed)
        # only the first, so that the file's order stays wherever it may
        ordered.append(ready[0])
        placed.add(ready[0])
        waiting.remove(ready[0])
    return ordered, []


def _cycle(waiting: list[str], needs: Mapping[str, frozenset[str]], placed: set[str]) -> list[str]:
    path = [waiting[0]]
    while True:
        following = min(n for n in needs[path[-1]] if n in needs and n not in placed)
        if following in path:
            return path[path.index(following) :]
        path.append(following)
