"""Tells whether a parameter's best value lies at a bound of its range: for the notice and for the page's table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from hposlurm.report.notices.notice import Evidence
from hposlurm.report.notices.trend import slope_at
from hposlurm.report.numbers import shown
from hposlurm.space import CategoricalParameter, FloatParameter, IntParameter, Parameter
from hposlurm.trial import ParamValue, Trial

# At least so many trials, of which the best so many lie at the bound. Judgement: fewer say nothing of a trend.
_LEAST_TRIALS, _LEADERS = 10, 3
# Shares of a range that count as "at the bound": of the best trial, and of the other leaders
_AT_BOUND, _NEAR_BOUND = 0.1, 0.25
# Of the slope there. With some ten parameters per study, 3 standard errors are reached by chance once in 40 studies.
_LEAST_T = 3.0
# A wider step of a logarithmic range mostly finds what diverges. Judgement
_FARTHEST = 3.0

EdgeKind = Literal["at bound", "no trend", "untried", "inside", "too few", "inactive", "not judged"]


@dataclass(frozen=True, slots=True)
class Edge:
    """Where the best value of a parameter lies in its range."""

    parameter: str
    kind: EdgeKind
    #: "upper" or "lower": the bound that this is about; "" inside of the range, and where nothing is known
    side: str = ""
    best: ParamValue = None
    #: between the best value and that bound, where no trial has a value; None if it is not "untried"
    untried: tuple[float, float] | None = None
    #: what to do, as a sentence without its full stop; "" if there is nothing to do
    advice: str = ""
    #: the command with which the advice ends; "" without one
    command: str = ""
    #: the trials that show it, by number
    trials: tuple[int, ...] = ()


def edges(found: Evidence) -> tuple[Edge, ...]:
    """Returns where the best value of each parameter of the space lies."""
    return tuple(edge_of(found, parameter) for parameter in found.spec.space.parameters)


def edge_of(found: Evidence, parameter: Parameter) -> Edge:
    """Returns where the best value of a parameter lies.

    It is at a bound if no trial that can be compared with it lies between and is worse, if the other leaders are near
    it, and if results improve towards it.
    """
    name, places = parameter.name, _places(parameter)
    own = [trial for trial in found.complete if name in trial.params]
    if places is None or len(found.spec.objectives) > 1:
        return Edge(name, "not judged")
    if not own or found.complete[0] is not own[0]:
        return Edge(name, "inactive")
    best, at = own[0].params[name], [places(trial.params[name]) for trial in own]
    if len(own) < _LEAST_TRIALS:
        return Edge(name, "too few", best=best)
    like = [place for trial, place in zip(own, at, strict=True) if _is_like(own[0], trial, found, parameter)]
    side = "upper" if at[0] > 0.5 else "lower"
    is_high = side == "upper"
    gap = 1 - at[0] if is_high else at[0]
    if gap > _AT_BOUND and at[0] == (max(at) if is_high else min(at)):
        return Edge(name, "untried", side, best, _between(parameter, best, is_high=is_high))
    if gap > _AT_BOUND or at[0] != (max(like) if is_high else min(like)):
        return Edge(name, "inside", best=best)
    if not _improves(found, own, parameter, at, is_high=is_high):
        return Edge(name, "no trend", side, best)
    leaders = tuple(trial.number for trial in own[:_LEADERS])
    advice, command = _widening(found, parameter, is_high=is_high)
    return Edge(name, "at bound", side, best, None, advice, command, leaders)


def _is_like(best: Trial, trial: Trial, found: Evidence, parameter: Parameter) -> bool:
    """True for a trial with the same choices elsewhere: with another optimizer it may be worse for that reason."""
    choices = [p.name for p in found.spec.space.parameters if isinstance(p, CategoricalParameter)]
    return all(best.params.get(name) == trial.params.get(name) for name in choices if name != parameter.name)


def _between(parameter: Parameter, best: ParamValue, *, is_high: bool) -> tuple[float, float]:
    """Returns the part of the range beyond the best value."""
    numbers = parameter.choices if isinstance(parameter, CategoricalParameter) else (parameter.low, parameter.high)
    bound = (max if is_high else min)(float(number or 0) for number in numbers)
    ends = sorted((float(best or 0), bound))
    return ends[0], ends[1]


def _improves(
    found: Evidence, own: Sequence[Trial], parameter: Parameter, at: Sequence[float], *, is_high: bool
) -> bool:
    """True if the leaders lie near the bound and results improve towards it."""
    if max(1 - place if is_high else place for place in at[:_LEADERS]) > _NEAR_BOUND:
        return False
    t = slope_at(1.0 if is_high else 0.0, at, _other_places(found, own, parameter))
    return t is not None and (-t if is_high else t) >= _LEAST_T


class _Places:
    """Maps the values of a parameter to [0, 1]: its place in the range, on a log scale if it has one."""

    def __init__(self, parameter: FloatParameter | IntParameter | CategoricalParameter) -> None:
        self._order: Mapping[ParamValue, float] = {}
        self._is_log = False
        if isinstance(parameter, CategoricalParameter):
            ordered = sorted(parameter.choices, key=lambda choice: float(choice or 0))
            self._order = {choice: i / (len(ordered) - 1) for i, choice in enumerate(ordered)}
        else:
            self._is_log = parameter.log
            self._low, self._high = self._scaled(parameter.low), self._scaled(parameter.high)

    def _scaled(self, value: float) -> float:
        return math.log(value) if self._is_log else float(value)

    def __call__(self, value: ParamValue) -> float:
        if self._order:
            return self._order.get(value, 0.5)
        number = self._scaled(float(value or 0)) if value or not self._is_log else self._low
        return min(1.0, max(0.0, (number - self._low) / (self._high - self._low)))


def _places(parameter: Parameter) -> _Places | None:
    """Returns where the parameter's values lie in its range; None for one without an order or with fewer than three."""
    if isinstance(parameter, CategoricalParameter):
        numbers = [c for c in parameter.choices if isinstance(c, int | float) and not isinstance(c, bool)]
        return _Places(parameter) if len({*numbers}) == len(parameter.choices) >= 3 else None
    return None if parameter.low == parameter.high or (parameter.size or 3) < 3 else _Places(parameter)


def _other_places(found: Evidence, own: Sequence[Trial], parameter: Parameter) -> list[list[float]]:
    """Returns the places of each other ordered parameter that all of these trials have."""
    others = []
    for other in found.spec.space.parameters:
        places = _places(other)
        if places and other.name != parameter.name and all(other.name in trial.params for trial in own):
            others.append([places(trial.params[other.name]) for trial in own])
    return others


def _widening(found: Evidence, parameter: Parameter, *, is_high: bool) -> tuple[str, str]:
    """Returns how to widen the range on one side, and the command that does it, or ""."""
    if parameter.name not in found.spec.parameters:  # in a conditional, which no setting names
        return f"widen the range of {parameter.name} in the study file, then hposlurm resume STUDY --from FILE", ""
    key = f"parameters.{parameter.name}"
    if isinstance(parameter, CategoricalParameter):
        return f"give {key}.choices a {'larger' if is_high else 'smaller'} one in the file, then resume --from FILE", ""
    low, high = float(parameter.low), float(parameter.high)
    if parameter.log:
        factor = min(_FARTHEST, max(2.0, (high / low) ** (1 / 3)))
        bound = high * factor if is_high else low / factor
    else:
        bound = high + (high - low) / 2 if is_high else low - (high - low) / 2
        bound = max(0.0, bound) if low >= 0 else bound
    if bound == (high if is_high else low):
        return f"{shown(bound)} is as far as it goes; fix {parameter.name} there and search the others", ""
    text = f"{round(bound)}" if isinstance(parameter, IntParameter) else _rounded(bound, high if is_high else low)
    command = found.change(f"{key}.{'max' if is_high else 'min'}={text}")
    return command, command


def _rounded(bound: float, before: float) -> str:
    """Returns the bound with one digit, or with two where one would move it too far or hardly at all."""
    short = float(f"{bound:.1g}")
    share = abs(short - before) / abs(bound - before)
    return f"{short if 0.5 <= share <= 1.0 + 1e-9 else float(f'{bound:.2g}'):g}"
