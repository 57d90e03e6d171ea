"""Bounds the reports of one attempt that are kept in memory and published. The journal has all of them.

An attempt with few reports keeps all. Of more it keeps an even sample, and every report on which a decision may depend:
the first and the last one, the last value of each metric, the lowest and the highest value of each objective, the first
one at or after each rung, and those at which checkpoints were saved. Pure, and standard library only.

The choice depends only on the records: reading a journal in parts keeps the same reports as reading it at once.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from hposlurm.trial import Report, is_finite

#: The most reports of one attempt in the even sample. A study that reports once per epoch never has so many.
MOST_REPORTS = 2_000
#: The most values in these reports, so that 200 metrics do not need 200 times the memory ...
MOST_VALUES = 20_000
#: ... but a curve keeps some points with any number of metrics.
FEWEST_REPORTS = 100
#: The most metrics of one attempt. Values of further names stay in its journal.
MOST_METRICS = 1_000
#: The most checkpoints of one attempt whose reports are kept: the newest ones.
MOST_SAVED = 100


#: The steps at which a metric was reported, ascending, and its finite values there.
Values = tuple[Sequence[int], Sequence[float]]


@dataclass(frozen=True, slots=True)
class Needed:
    """The reports that decisions of a study need, besides those that every study needs."""

    #: The metrics that are optimised.
    objectives: tuple[str, ...] = ()
    #: The steps at which trials are compared, ascending.
    rungs: tuple[int, ...] = ()
    #: Other metrics that decisions use.
    metrics: tuple[str, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """All metrics that decisions use."""
        return frozenset((*self.objectives, *self.metrics))

    def includes(self, other: Needed) -> bool:
        """True if reports that were kept for this are enough for `other`."""
        pairs = ((self.names, other.names), (self.objectives, other.objectives), (self.rungs, other.rungs))
        return all({*mine} >= {*theirs} for mine, theirs in pairs)


#: What is needed if nothing is known of the study.
NOTHING = Needed()


def spacing(count: int, metrics: int) -> int:
    """Returns 1 if all of `count` reports with this many different metrics are kept, else n: every n-th one is."""
    most = max(FEWEST_REPORTS, min(MOST_REPORTS, MOST_VALUES // max(1, metrics)))
    found = 1
    while count > most * found:
        found *= 2
    return found


def thinned(reports: Mapping[int, Report], count: int, saved: Iterable[int], needed: Needed) -> dict[int, Report]:
    """Returns the reports to keep of `reports` (by step, in the order of their numbers) of `count` in total.

    `saved` are the numbers of the reports at which checkpoints were saved. Thinning a second time changes nothing, and
    neither does thinning before more reports are added.
    """
    last_of_metric = {name: step for step, report in reports.items() for name in report.metrics}
    every = spacing(count, len(last_of_metric))
    if every == 1:
        return dict(reports)
    kept = {step for step, report in reports.items() if report.number % every == 0}
    numbers = {report.number: step for step, report in reports.items()}
    kept |= {numbers[number] for number in saved if number in numbers}
    kept |= {[*reports][-1], max(reports), *last_of_metric.values()}
    for name in needed.objectives:
        kept |= _extremes(reports, name)
    kept |= _at_rungs(reports, needed)
    return {step: report for step, report in reports.items() if step in kept}


def _extremes(reports: Mapping[int, Report], name: str) -> set[int]:
    known = [(value, step) for step, report in reports.items() if is_finite(value := report.metrics.get(name))]
    if not known:
        return set()
    lowest = min(known, key=lambda pair: pair[0])
    highest = max(known, key=lambda pair: pair[0])
    return {lowest[1], highest[1]}


def _at_rungs(reports: Mapping[int, Report], needed: Needed) -> set[int]:
    if not needed.rungs:
        return set()
    steps = sorted(
        step
        for step, report in reports.items()
        if all(is_finite(report.metrics.get(name)) for name in needed.objectives)
    )
    return {steps[place] for rung in needed.rungs if (place := bisect_left(steps, rung)) < len(steps)}


def chosen_steps(
    new: Sequence[int], values: Mapping[str, Values], count: int, metrics: int, needed: Needed
) -> set[int]:
    """Returns the steps that `thinned` may keep of `new` ones: ascending, and reported after `count` others.

    `values` has those metrics whose lowest and highest value count, `metrics` is the number of all of them.
    """
    every = spacing(count + len(new), metrics)
    kept = {*new[-count % every :: every], *new[-1:]}
    for steps, numbers in values.values():
        kept |= {steps[numbers.index(extreme(numbers))] for extreme in (min, max) if numbers}
    for rung in needed.rungs:
        places = (step for step in new[bisect_left(new, rung) :])
        kept |= {*islice((step for step in places if _has_all(values, step, needed.objectives)), 1)}
    return kept


def _has_all(values: Mapping[str, Values], step: int, names: Iterable[str]) -> bool:
    return all(name in values and _contains(values[name][0], step) for name in names)


def _contains(ascending: Sequence[int], step: int) -> bool:
    place = bisect_left(ascending, step)
    return place < len(ascending) and ascending[place] == step
