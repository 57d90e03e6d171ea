"""The sections of a study file about running it: budget, waves, trial, resources and Slurm."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from hposlurm.spec.entries import Failures, Terminator
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
    Switch,
    Text,
    Whole,
)
from hposlurm.spec.metric_sources import MetricSources
from hposlurm.trial import ParamValue


def with_evaluation(command: str, evaluate: str) -> str:
    """Returns the command, and after it the evaluation unless the command was asked to stop, as one template."""
    return "\n".join((command.rstrip(), 'if [ ! -e "$HPOSLURM_REQUEST_FILE" ]; then', evaluate.strip(), "fi"))


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
    #: A second command, which measures what the first one has trained; it is left out where that was asked to stop.
    evaluate: Command | None = None
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
    #: Files that training libraries write by themselves; one entry may stand without a list.
    metrics: MetricSources = ()
    workdir: Text | None = None
    #: What commands find as their seed: a number, the same in all trials, or "trial": each trial's own. None becomes
    #: `search.seed` at the launch.
    seed: CommandSeed | None = None
    deepspeed: DeepSpeedSpec | None = None

    @property
    def script(self) -> str:
        """Returns all that an attempt runs, as a template."""
        return self.command if self.evaluate is None else with_evaluation(self.command, self.evaluate)


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
