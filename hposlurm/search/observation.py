"""The search's input and output: observations of trials, and the answer. Plain frozen data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hposlurm.search.memory import SearchMemory
from hposlurm.space import SearchSpace
from hposlurm.space.metric_constraints import Limits
from hposlurm.trial import Objective, Params, ParamValue, TrialState

if TYPE_CHECKING:
    from hposlurm.spec import SearchSpec


@dataclass(frozen=True, slots=True)
class Observation:
    """One trial of the history. Values have one finite number per objective, as reported (never negated)."""

    number: int
    params: Params
    state: TrialState
    #: None unless the trial is COMPLETE, or PAUSED or PRUNED with a last report
    values: tuple[float, ...] | None = None
    #: what the search keeps with the trial
    attrs: Mapping[str, object] = field(default_factory=dict)
    #: True if the trial is FAIL because of its configuration: it exceeds the memory, or an objective was not finite
    infeasible: bool = False
    #: (step, values) for each step at which every objective is known, ascending
    curve: tuple[tuple[int, tuple[float, ...]], ...] = ()
    #: where the newest assignment ends; None: at the training code's own end
    to_step: int | None = None
    #: True if the newest assignment is planned, waits or runs
    is_open: bool = False
    #: each metric's newest finite value
    metrics: Mapping[str, float] = field(default_factory=dict)
    #: (to_step, values) of each completed assignment: by these the trial is ranked, whatever came later
    ends: tuple[tuple[int, tuple[float, ...]], ...] = ()


def violations(observation: Observation, limits: Limits) -> tuple[float, ...]:
    """Returns one number per limit on metrics, above 0 if the trial breaks it as far as is known now."""
    is_over = observation.state is TrialState.COMPLETE
    return limits.violations(observation.params, observation.metrics, is_over=is_over)


def complaints(observation: Observation, limits: Limits) -> tuple[str, ...]:
    """Returns the broken limits as text, with the trial's values."""
    is_over = observation.state is TrialState.COMPLETE
    return limits.complaints(observation.params, observation.metrics, is_over=is_over)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A configuration to train."""

    #: the values of the active parameters
    params: dict[str, ParamValue]
    #: what to keep with the trial; "origin" says where the point comes from: "enqueue", "default", "copy" or a
    #: sampler's name
    attrs: dict[str, object] = field(default_factory=dict)
    #: the index of the observation whose trial has this point and is continued; None: a new trial
    continues: int | None = None


@dataclass(frozen=True, slots=True)
class SearchProblem:
    """A search problem: what is searched, and how."""

    space: SearchSpace
    search: SearchSpec
    objectives: tuple[Objective, ...]
    #: how many trials the study may have in total; None: no limit
    n_trials: int | None = None
    #: trials of other studies: a model of the objectives may learn from them, nothing else counts them
    prior: tuple[Observation, ...] = ()
    #: the names of the parameters that may change while a model is trained
    mutable: frozenset[str] = frozenset()
    #: earlier results, for speed only
    memory: SearchMemory = field(default_factory=SearchMemory, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """A training that the search wants next. Without `is_final` its trial is PAUSED at `to_step`."""

    params: Mapping[str, ParamValue]
    #: The trial to send on; None for a new one.
    trial: int | None = None
    from_step: int = 0
    #: The step to train to; None for the training code's own end.
    to_step: int | None = None
    is_final: bool = True
    #: The trial from whose newest checkpoint a new one starts.
    copy_of: int | None = None
    #: Kept with a new trial; must survive JSON.
    attrs: Mapping[str, object] = field(default_factory=dict)
    #: The reason for the decision, for people.
    why: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A trial that the search ends: it becomes PRUNED, for `reason`."""

    trial: int
    reason: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The search's answer at one moment."""

    requests: tuple[TrainingRequest, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    #: for people
    notes: tuple[str, ...] = ()
    #: why there will never be another request; None if there may be
    finished: str | None = None
