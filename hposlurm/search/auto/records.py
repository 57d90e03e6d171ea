"""Reads observations into arrays: one row per trial, one column of losses per rung."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hposlurm.search.auto.encoding import Encoder, Floats
from hposlurm.search.observation import Observation
from hposlurm.search.rungs import broken_by
from hposlurm.trial import Direction, Objective, TrialState

THROUGH = "through"  # the attribute of a trial that is trained to the end whatever its rungs show


@dataclass(frozen=True, slots=True)
class LossTable:
    """The history as the search reads it: each array has one entry per trial."""

    #: the steps of the rungs; None: the training code's own end
    levels: tuple[int | None, ...]
    numbers: NDArray[np.int64]
    #: the points in the unit cube
    rows: Floats
    #: True if the configuration lies in the present space
    inside: NDArray[np.bool_]
    #: one column per rung: the value there, negated if the objective is maximised; NaN if there is none (yet), infinite
    #: if the trial ended its assignment without one
    losses: Floats
    #: by how much the trial breaks limits on its metrics; 0 if it keeps all
    broken: Floats
    #: the rung at which the newest assignment ends
    target: NDArray[np.int64]
    is_open: NDArray[np.bool_]
    is_paused: NDArray[np.bool_]
    is_complete: NDArray[np.bool_]
    is_failed: NDArray[np.bool_]
    is_infeasible: NDArray[np.bool_]
    is_through: NDArray[np.bool_]
    is_maximised: bool = False  # True if the losses are the negated values

    def from_rung(self, lowest: int) -> LossTable:
        """Returns the table without the losses below a rung."""
        if lowest == 0:
            return self
        hidden = np.arange(len(self.levels)) < lowest
        return replace(self, losses=np.where(hidden, np.nan, self.losses))

    @property
    def lessons(self) -> Floats:
        """The losses as a model learns them: a trial that breaks a limit is worse than any that does not."""
        is_bad = (self.broken > 0)[:, None] & ~np.isnan(self.losses)
        return np.where(is_bad, math.inf, self.losses)

    def best(self, rows: NDArray[np.int64], k: int) -> NDArray[np.int64]:
        """Returns `rows` sorted by their losses at rung `k`, the best first; trials that break a limit come last."""
        return rows[np.lexsort((self.losses[rows, k], self.broken[rows]))]

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def top(self) -> int:
        """The index of the last rung."""
        return len(self.levels) - 1


class LossTables:
    """Reads the observations of one study into tables, call after call; the last rung of `levels` is the end.

    Only observations that are new since the last call are translated: an observation never changes.
    """

    def __init__(self, encoder: Encoder, objective: Objective, levels: tuple[int | None, ...]) -> None:
        self.encoder = encoder
        self.objective = objective
        self.levels = levels
        self._last: tuple[Observation, ...] = ()
        self._table: LossTable | None = None

    def read(self, observations: Sequence[Observation]) -> LossTable:
        """Returns the observations as arrays."""
        known, table = self._last, self._table
        changed = [i for i, o in enumerate(observations) if i >= len(known) or known[i] is not o]
        if table is None or len(observations) < len(known) or len(changed) == len(observations):
            table = _translated(self.encoder, self.objective, self.levels, observations)
        elif changed:
            new = _translated(self.encoder, self.objective, self.levels, [observations[i] for i in changed])
            table = _updated(table, new, changed, len(observations))
        self._last, self._table = tuple(observations), table
        return table


def _updated(old: LossTable, new: LossTable, at: Sequence[int], count: int) -> LossTable:
    """Returns a table of `count` rows: those of `old`, with those of `new` at the positions `at`."""
    columns: dict[str, Any] = {}
    for field in fields(LossTable):
        before, after = getattr(old, field.name), getattr(new, field.name)
        if isinstance(before, np.ndarray):
            column = np.empty((count, *before.shape[1:]), dtype=before.dtype)
            column[: len(before)] = before
            column[at] = after
            columns[field.name] = column
    return replace(old, **columns)


def joined(first: LossTable, second: LossTable) -> LossTable:
    """Returns the rows of the first, then those of the second; both have the same rungs."""
    columns: dict[str, Any] = {}
    for field in fields(LossTable):
        before, after = getattr(first, field.name), getattr(second, field.name)
        if isinstance(before, np.ndarray):
            columns[field.name] = np.concatenate([before, after])
    return replace(first, **columns)


def _translated(
    encoder: Encoder, objective: Objective, levels: tuple[int | None, ...], observations: Sequence[Observation]
) -> LossTable:
    rows, inside = encoder.rows([o.params for o in observations])
    sign = -1.0 if objective.direction is Direction.MAXIMIZE else 1.0
    places = {level: k for k, level in enumerate(levels) if level is not None}
    starts = [(level,) for level in levels if level is not None]
    targets: dict[int | None, int] = {step: _target(step, levels) for step in {o.to_step for o in observations}}
    losses = np.array(
        [_at_rungs(o, targets[o.to_step], starts, len(levels), places) for o in observations], dtype=float
    ).reshape(-1, len(levels))
    limits = encoder.space.limits
    states = [o.state for o in observations]
    return LossTable(
        levels=levels,
        numbers=np.array([o.number for o in observations], dtype=np.int64),
        rows=rows,
        inside=inside,
        losses=np.where(np.isinf(losses), losses, sign * losses),
        broken=np.array([broken_by(o, limits) if o.values is not None else 0.0 for o in observations], dtype=float),
        target=np.array([targets[o.to_step] for o in observations], dtype=np.int64),
        is_open=np.array([o.is_open for o in observations], dtype=bool),
        is_paused=np.array([s is TrialState.PAUSED for s in states], dtype=bool),
        is_complete=np.array([s is TrialState.COMPLETE for s in states], dtype=bool),
        is_failed=np.array([s is TrialState.FAIL for s in states], dtype=bool),
        is_infeasible=np.array([o.infeasible for o in observations], dtype=bool),
        is_through=np.array([bool(o.attrs.get(THROUGH)) for o in observations], dtype=bool),
        is_maximised=objective.direction is Direction.MAXIMIZE,
    )


def _at_rungs(
    observation: Observation, target: int, starts: Sequence[tuple[int]], rungs: int, places: Mapping[int, int]
) -> list[float]:
    """Returns the values at the rungs, as reported. `starts` has (level,) for each level, `places` its index."""
    curve, values = observation.curve, [math.nan] * rungs
    if curve:
        position, end = 0, len(curve)
        for k, start in enumerate(starts):
            position = bisect_left(curve, start, position)
            if position == end:
                break
            values[k] = curve[position][1][0]
    if observation.state is TrialState.COMPLETE:
        final = observation.values[0] if observation.values else math.nan
        values[-1] = final
        if curve:  # a completed training that ended early would have the same values later
            values = [final if math.isnan(v) else v for v in values]
    elif observation.state is TrialState.PAUSED and not observation.is_open and math.isnan(values[target]):
        values[target] = curve[-1][1][0] if curve else math.inf  # its assignment is over: there will be no later report
    for end, last in observation.ends:  # the values that it was ranked by there, whatever came later
        if end in places:
            values[places[end]] = last[0]
    return values


def _target(to_step: int | None, levels: tuple[int | None, ...]) -> int:
    if to_step is None:
        return len(levels) - 1
    return next((k for k, level in enumerate(levels) if level is None or level >= to_step), len(levels) - 1)
