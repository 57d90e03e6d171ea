"""Notices on parameters: one that changes nothing, and a best value at the bound of its range."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hposlurm.report.notices.edges import edge_of
from hposlurm.report.notices.notice import Evidence, Notice
from hposlurm.report.numbers import counted, shown
from hposlurm.space import Parameter
from hposlurm.trial import ParamValue, Trial

# By chance two pairs may end equal where a metric has few values; three pairs of equal curves do not.
_LEAST_PAIRS = 3


def parameter_notices(found: Evidence) -> Iterator[Notice]:
    """Yields the notices on each parameter of the study, in the order of the study file."""
    space = found.spec.space
    yield from _without_effect(found, [parameter.name for parameter in space.parameters])
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
    """Yields a notice if the best value lies at a bound of its range and the values still improve towards it."""
    edge = edge_of(found, parameter)
    if edge.kind == "at bound":
        yield Notice(
            "at_bound",
            f"the best value of {parameter.name} ({shown(edge.best)}) is at the {edge.side} bound of its range, and "
            "results still improve towards it",
            edge.advice,
            edge.trials,
            edge.command,
        )
