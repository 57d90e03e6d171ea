"""Follows a population: which trial was copied from which, and how the parameters of the best ones changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hposlurm.records.ancestry import legs
from hposlurm.records.history import History
from hposlurm.report.page.shortening import short
from hposlurm.report.printable import printable
from hposlurm.trial import Params, Trial, param_text

_SCHEDULES = 5


@dataclass(frozen=True, slots=True)
class Member:
    """A part of the population's training: a trial, on the line of its member."""

    row: int
    member: int
    generation: int
    from_step: int
    to_step: int
    #: the row of the trial that it was copied from
    parent: int | None


@dataclass(frozen=True, slots=True)
class ScheduleLeg:
    """The parameters from a step on."""

    step: int
    trial: int
    params: dict[str, float | str]


@dataclass(frozen=True, slots=True)
class LeaderSchedule:
    """How the model of a trial was trained from step 0 on."""

    trial: int
    legs: tuple[ScheduleLeg, ...]


@dataclass(frozen=True, slots=True)
class PopulationLines:
    """The members of a population, and the schedules of the best ones."""

    members: tuple[Member, ...]
    #: the parameters that may change
    mutable: tuple[str, ...]
    schedules: tuple[LeaderSchedule, ...]


def lineage(history: History, mutable: Sequence[str], leaders: Sequence[Trial]) -> PopulationLines | None:
    """Returns the population's lines; None for a study without one. `leaders` are the best trials, best first."""
    rows = {trial.number: row for row, trial in enumerate(history.trials)}
    members = tuple(
        _member(trial, row, rows)
        for row, trial in enumerate(history.trials)
        if isinstance(trial.attrs.get("member"), int)
    )
    if not members:
        return None
    schedules = tuple(_schedule(history, trial, mutable) for trial in leaders[:_SCHEDULES])
    return PopulationLines(members, tuple(map(printable, mutable)), schedules)


def _member(trial: Trial, row: int, rows: dict[int, int]) -> Member:
    first = trial.stages[0].from_step if trial.stages else 0
    last = trial.reports[-1].step if trial.reports else first
    parent = trial.attrs.get("parent")
    return Member(
        row=row,
        member=_whole(trial.attrs.get("member")),
        generation=_whole(trial.attrs.get("generation")),
        from_step=first,
        to_step=max(first, last),
        parent=rows.get(parent) if isinstance(parent, int) else None,
    )


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0


def _schedule(history: History, trial: Trial, mutable: Sequence[str]) -> LeaderSchedule:
    return LeaderSchedule(
        trial.number,
        tuple(ScheduleLeg(leg.step, leg.trial, _moving(leg.params, mutable)) for leg in legs(history, trial)),
    )


def _moving(params: Params, mutable: Sequence[str]) -> dict[str, float | str]:
    return {
        printable(name): short(value) if isinstance(value, float) else printable(param_text(value))
        for name, value in params.items()
        if name in mutable
    }
