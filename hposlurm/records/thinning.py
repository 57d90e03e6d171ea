"""Bounds the reports of one attempt that are kept in memory and published. The journal has all of them.

An attempt with few reports keeps all. Of more it keeps an even sample, and every report on which a decision may depend:
the first and the last one, the last value of each metric, of those that decisions use also the lowest, the highest and
the last value until each rung, the first one at or after each rung, and those at which checkpoints were saved. Pure,
standard library only.

The choice depends only on the records: reading a journal in parts keeps the same reports as reading it at once. That
holds where steps never descend. What is reported later for an earlier step is added to the step's report if that is
kept, else it is one more report.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

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
    values = {name: _values(reports, name) for name in needed.names}
    kept |= _that_count(sorted(reports), values, needed) | _last_until_rungs(reports, needed)
    return {step: report for step, report in reports.items() if step in kept}


def _values(reports: Mapping[int, Report], name: str) -> Values:
    known = sorted((s, value) for s, r in reports.items() if is_finite(value := r.metrics.get(name)))
    return [step for step, _ in known], [value for _, value in known]


def _last_until_rungs(reports: Mapping[int, Report], needed: Needed) -> set[int]:
    """Returns the steps of the last reports until each rung with each metric. A value that is not finite counts too."""
    kept: set[int] = set()
    for name in needed.names:
        known = sorted(step for step, report in reports.items() if name in report.metrics)
        kept |= {known[end - 1] for rung in needed.rungs if (end := bisect_right(known, rung))}
    return kept


def _that_count(ascending: Sequence[int], values: Mapping[str, Values], needed: Needed) -> set[int]:
    """Returns the steps of the values that may count: of each metric the lowest, the highest and the last one, at the
    end and until each rung, and the first step at or after each rung with a value of every objective.

    The newest value may be replaced, so what counts without it is kept as well.
    """
    kept: set[int] = set()
    complete = _complete(ascending, values, needed.objectives)
    for known, numbers in (*values.values(), *(complete.values() if len(complete) > 1 else ())):
        ends = {len(known), len(known) - 1, *(bisect_right(known, rung) for rung in needed.rungs)}
        for end in ends - {0, -1}:
            until = numbers[:end]
            kept |= {known[end - 1], known[until.index(min(until))], known[until.index(max(until))]}
    steps = next((steps for steps, _ in complete.values()), ascending)
    return kept | {steps[place] for rung in needed.rungs if (place := bisect_left(steps, rung)) < len(steps)}


def _complete(ascending: Sequence[int], values: Mapping[str, Values], objectives: Sequence[str]) -> dict[str, Values]:
    """Returns the values of each objective at the steps where all have one: only these are compared."""
    mine = {name: values.get(name, ((), ())) for name in objectives}
    if len(mine) < 2:
        return mine
    steps = set(ascending).intersection(*(known for known, _ in mine.values()))
    found: dict[str, Values] = {}
    for name, (known, numbers) in mine.items():
        pairs = [(step, value) for step, value in zip(known, numbers, strict=True) if step in steps]
        found[name] = [step for step, _ in pairs], [value for _, value in pairs]
    return found


def counting_steps(reports: Sequence[Report], needed: Needed) -> set[int]:
    """Returns the steps of the reports that the results of a trial with one attempt depend on.

    These are the first and the last one, the first and the last of each metric, and those with the lowest and the
    highest value of a needed metric; all, if the steps are not in ascending order.
    """
    steps = [report.step for report in reports]
    if any(later <= earlier for earlier, later in pairwise(steps)):
        return {*steps}
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for report in reports:
        for name in report.metrics:
            first.setdefault(name, report.step)
            last[name] = report.step
    by_step = {report.step: report for report in reports}
    values = {name: _values(by_step, name) for name in needed.names}
    return {*steps[:1], *steps[-1:], *first.values(), *last.values()} | _that_count(steps, values, needed)


def chosen_steps(
    new: Sequence[int], values: Mapping[str, Values], count: int, metrics: int, needed: Needed
) -> set[int]:
    """Returns the steps that `thinned` may keep of `new` ones: ascending, and reported after `count` others.

    `values` has those metrics whose lowest and highest values count; `metrics` is the number of all metrics.
    """
    every = spacing(count + len(new), metrics)
    kept = {*new[-count % every :: every], *new[-1:]}
    return kept | _that_count(new, values, needed)
