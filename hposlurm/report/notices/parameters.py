"""Notices on parameters: one that changes nothing, and a best value at the bound of its range."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from hposlurm.report.notices.notice import Evidence, Notice
from hposlurm.report.notices.trend import slope_at
from hposlurm.report.numbers import counted, shown
from hposlurm.space import CategoricalParameter, FloatParameter, IntParameter, Parameter
from hposlurm.trial import ParamValue, Trial

# By chance two pairs may end equal where a metric has few values; three pairs of equal curves do not.
_LEAST_PAIRS = 3
# At least so many trials, of which the best so many lie at the bound. Judgement: fewer say nothing of a trend.
_LEAST_TRIALS, _LEADERS = 10, 3
# Shares of a range that count as "at the bound": of the best trial, and of the other leaders
_AT_BOUND, _NEAR_BOUND = 0.1, 0.25
# Of the slope there. With some ten parameters per study, 3 standard errors are reached by chance once in 40 studies.
_LEAST_T = 3.0


def parameter_notices(found: Evidence) -> Iterator[Notice]:
    """Yields the notices on each parameter of the study, in the order of the study file."""
    space = found.spec.space
    yield from _without_effect(found, [parameter.name for parameter in space.parameters])
    if len(found.spec.objectives) == 1:
        for parameter in space.parameters:
            yield from _at_bound(found, parameter)


# ---- no effect


def _without_effect(found: Evidence, names: Sequence[str]) -> Iterator[Notice]:
    """Yields a notice for each parameter of which pairs that differ only in it have the same curves."""
    if len({trial.values for trial in found.complete}) < 2:
        return  # nothing has an effect: the metric is constant, which is another notice
    trials = {trial.number: trial for trial in found.complete}
    for name in names:
        pairs = list(_pairs(found.complete, name))
        equal = [(a, b) for a, b in pairs if _curve(trials[a], found) == _curve(trials[b], found)]
        if len(pairs) >= _LEAST_PAIRS and len(equal) == len(pairs):
            numbers = tuple(sorted({number for pair in equal for number in pair}))
            yield Notice(
                "no_effect",
                f"{name} makes no difference at all: {counted(len(pairs), 'pair')} of trials that differ only in it "
                "report the same values to the last digit",
                f"look whether the training uses {name} (the log prints the command; hposlurm explain STUDY TRIAL has "
                "its parameters)",
                numbers,
            )


def _curve(trial: Trial, found: Evidence) -> tuple[object, ...]:
    """Returns what the trial reported of the objectives, and its final values."""
    names = [objective.metric for objective in found.spec.objectives]
    steps = tuple((report.step, *(report.metrics.get(name) for name in names)) for report in trial.reports)
    return (trial.values, *steps)


def _pairs(trials: Sequence[Trial], name: str) -> Iterator[tuple[int, int]]:
    """Yields pairs of trials that differ only in `name`: each value with the first one that its group has."""
    groups: dict[tuple[tuple[str, ParamValue], ...], dict[ParamValue, int]] = {}
    for trial in trials:
        if name in trial.params:
            rest = tuple((key, value) for key, value in trial.params.items() if key != name)
            groups.setdefault(rest, {}).setdefault(trial.params[name], trial.number)
    for group in groups.values():
        first, *others = group.values()
        yield from ((first, other) for other in others)


# ---- at a bound


def _at_bound(found: Evidence, parameter: Parameter) -> Iterator[Notice]:
    """Yields a notice if the leaders lie at one bound of a range and the values still improve towards it."""
    places = _places(parameter)
    own = [trial for trial in found.complete if parameter.name in trial.params]
    if places is None or len(own) < _LEAST_TRIALS or found.complete[0] is not own[0]:
        return
    at = [places(trial.params[parameter.name]) for trial in own]
    leaders = at[:_LEADERS]
    is_high = leaders[0] > 0.5
    distances = [1 - place if is_high else place for place in leaders]
    if distances[0] > _AT_BOUND or max(distances) > _NEAR_BOUND:
        return
    others = _other_places(found, own, parameter)
    t = slope_at(1.0 if is_high else 0.0, at, others)
    if t is None or (t if not is_high else -t) < _LEAST_T:
        return
    side = "upper" if is_high else "lower"
    value = shown(own[0].params[parameter.name])
    yield Notice(
        "at_bound",
        f"the best value of {parameter.name} ({value}) is at the {side} bound of its range, and results still improve "
        "towards it",
        _widening(found, parameter, is_high=is_high),
        tuple(trial.number for trial in own[:_LEADERS]),
    )


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


def _widening(found: Evidence, parameter: Parameter, *, is_high: bool) -> str:
    """Returns the command that widens the range on one side."""
    if parameter.name not in found.spec.parameters:  # in a conditional, which no setting names
        return f"widen the range of {parameter.name} in the study file, then hposlurm resume STUDY --from FILE"
    key = f"parameters.{parameter.name}"
    if isinstance(parameter, CategoricalParameter):
        return f"give {key}.choices a {'larger' if is_high else 'smaller'} one in the file, then resume --from FILE"
    low, high = float(parameter.low), float(parameter.high)
    if parameter.log:
        factor = max(2.0, (high / low) ** (1 / 3))
        bound = high * factor if is_high else low / factor
    else:
        bound = high + (high - low) / 2 if is_high else low - (high - low) / 2
        bound = max(0.0, bound) if low >= 0 else bound
    if bound == (high if is_high else low):
        return f"{shown(bound)} is as far as it goes; fix {parameter.name} there and search the others"
    text = f"{round(bound)}" if isinstance(parameter, IntParameter) else f"{float(f'{bound:.1g}'):g}"
    return found.change(f"{key}.{'max' if is_high else 'min'}={text}")
