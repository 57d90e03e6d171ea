"""What the search sees of a trial, and what it answers: plain frozen data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hposlurm.trial import Params, ParamValue, TrialState


@dataclass(frozen=True, slots=True)
class Observation:
    """One trial of the history. `values` has one finite number per objective, as reported (never negated).

    `values` is None unless the trial is COMPLETE, or PRUNED with a last report. `infeasible`: the trial is FAIL because
    its configuration does not fit into the memory.
    """

    number: int
    params: Params
    state: TrialState
    values: tuple[float, ...] | None = None
    attrs: Mapping[str, object] = field(default_factory=dict)
    infeasible: bool = False


@dataclass(frozen=True, slots=True)
class Suggestion:
    """The active parameters of one new trial, and what the search wants to be kept with it.

    `attrs["origin"]` says how the point was found: "default", "grid", "random" or "tpe".
    """

    params: dict[str, ParamValue]
    attrs: dict[str, object] = field(default_factory=dict)
