"""The study file as frozen, validated data. Single values are checked here, the sections together in `check`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, GetPydanticSchema, model_validator
from pydantic_core import core_schema

from hposlurm.space import SearchSpace
from hposlurm.space.expressions import Expression
from hposlurm.space.expressions import parse as parse_expression
from hposlurm.space.metric_constraints import MEASURED, Limits
from hposlurm.space.names import group_metrics, variable
from hposlurm.spec.definitions import Conditional, Definition, all_definitions, conditional_parameters
from hposlurm.spec.ends import ends_by
from hposlurm.spec.entries import Failures, Forbidden, MetricName, Terminator, forbidding
from hposlurm.spec.fields import (
    Command,
    CommandSeed,
    MemoryGb,
    Minutes,
    NodeCount,
    Number,
    PositiveNumber,
    PositiveWhole,
    Scalar,
    Seconds,
    Section,
    StopSignal,
    StudyName,
    Switch,
    Text,
    Whole,
)
from hposlurm.spec.objective_entry import ObjectiveEntry, dumped_objective
from hposlurm.spec.order import dependency_order
from hposlurm.spec.publishing import DEFAULT as DEFAULT_PUBLISHERS
from hposlurm.spec.publishing import PublishSection
from hposlurm.spec.search import SearchSpec, default_startup
from hposlurm.spec.simulation import SimulationSpec
from hposlurm.trial import Objective, ParamValue

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
    #: What asks a command to save and exit, besides the request file: TERM, USR1, …; None: no signal reaches it.
    stop_signal: StopSignal | None = None
    #: How long it may then take. In the file as `timeout`; None: as long as Slurm's KillWait allows, or 25 s.
    stop_grace_s: Seconds | None = Field(default=None, alias="stop_grace")
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
    #: What commands find as their seed: a number, the same in all trials, or "trial": each trial's own. None becomes
    #: `search.seed` at the launch.
    seed: CommandSeed | None = None
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
            self.trial.command,
            self.resources.facts,
            self.search.max_resource,
            self.trial.deepspeed is not None,
            {name: definition.flag for name, definition in definitions if definition.flag is not None},
            self.command_seed,
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
        return SearchSpace(tuple(parameters[name] for name in ordered), tuple(allowed), facts, limits)

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
        metrics = metric_names(named, self.trial.metric_pattern)
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
