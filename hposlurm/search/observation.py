"""What the search sees of a trial, and what it answers: plain frozen data."""

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
    """One trial of the history. `values` has one finite number per objective, as reported (never negated).

    `values` is None unless the trial is COMPLETE, or PAUSED or PRUNED with a last report. `infeasible`: the trial is
    FAIL because of its configuration, which does not fit into the memory or made an objective no finite number.
    `curve` has (step, values) for each step at which every objective is known, ascending. `to_step` is where its newest
    assignment ends, None for the training code's own end; `is_open` says that this assignment is planned, waits or
    runs. `metrics` has each metric's newest finite value, `ends` (to_step, values) of each assignment that was
    completed: what the trial is ranked by, however it went on.
    """

    number: int
    params: Params
    state: TrialState
    values: tuple[float, ...] | None = None
    attrs: Mapping[str, object] = field(default_factory=dict)
    infeasible: bool = False
    curve: tuple[tuple[int, tuple[float, ...]], ...] = ()
    to_step: int | None = None
    is_open: bool = False
    metrics: Mapping[str, float] = field(default_factory=dict)
    ends: tuple[tuple[int, tuple[float, ...]], ...] = ()


def violations(observation: Observation, limits: Limits) -> tuple[float, ...]:
    """One number per limit on metrics, above 0 where the trial breaks it by what is known of it now."""
    is_over = observation.state is TrialState.COMPLETE
    return limits.violations(observation.params, observation.metrics, is_over=is_over)


def complaints(observation: Observation, limits: Limits) -> tuple[str, ...]:
    """What each of these limits is, with the values in it."""
    is_over = observation.state is TrialState.COMPLETE
    return limits.complaints(observation.params, observation.metrics, is_over=is_over)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """The active parameters of one new trial, and what the search wants to be kept with it.

    `attrs["origin"]` says how the point was found: "enqueue", "default", "copy", or the name of a sampler.
    """

    params: dict[str, ParamValue]
    attrs: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SearchProblem:
    """What is searched, and how. `n_trials` is how many trials the study may have in all; None: no limit.

    `prior` are trials of other studies, from which a model of the objectives may learn; nothing else counts them.
    `mutable` are the names of the parameters that may change while a model is trained. `memory` holds what was worked
    out before, for speed only.
    """

    space: SearchSpace
    search: SearchSpec
    objectives: tuple[Objective, ...]
    n_trials: int | None = None
    prior: tuple[Observation, ...] = ()
    mutable: frozenset[str] = frozenset()
    memory: SearchMemory = field(default_factory=SearchMemory, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """Names what the search wants trained next. Without `is_final` its trial is PAUSED at `to_step`."""

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
    #: What the decision to send a trial on was made by, for people.
    why: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A trial that the search ends: it becomes PRUNED, for `reason`."""

    trial: int
    reason: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What the search says at one moment. `finished` tells why nothing more will ever come; `notes` are for people."""

    requests: tuple[TrainingRequest, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    notes: tuple[str, ...] = ()
    finished: str | None = None
