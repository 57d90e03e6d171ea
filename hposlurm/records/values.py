"""Decides which of a trial's reported values counts: the one place for results, rungs, tables and the search. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hposlurm.records.fold import metrics_at
from hposlurm.trial import Attempt, Report, ValueRule, is_finite

#: A step, and the value of each objective there.
Point = tuple[int, tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class CountedValue:
    """The value of an objective that counts."""

    value: float
    #: Where it was reported; None if only the end of an attempt has it.
    step: int | None = None


def counted_value(
    attempts: Sequence[Attempt], name: str, rule: ValueRule, until: int | None = None
) -> CountedValue | None:
    """Returns the value of the metric `name` that counts after `attempts`; None if none is a finite number.

    Later reports than that of step `until` do not count, unless there are no others: a script that does not ask for its
    last step goes on past it.
    """
    reports = counted_reports(attempts)
    known = [(report.step, value) for report in reports if is_finite(value := report.metrics.get(name))]
    known = [pair for pair in known if until is None or pair[0] <= until] or known
    value = metrics_at(attempts, (name,), until).get(name)
    if rule is not ValueRule.LAST and known:
        value = rule.of([value for _, value in known])
    if not is_finite(value):
        return None
    steps = [step for step, reported in known if reported == value]
    return CountedValue(value, steps[-1 if rule is ValueRule.LAST else 0] if steps else None)


def counted_values(
    attempts: Sequence[Attempt], names: Sequence[str], rules: Sequence[ValueRule], until: int | None = None
) -> tuple[float, ...] | None:
    """Returns the value of each objective that counts after `attempts`; None if one is missing or not finite.

    `rules` has the rule of each objective; () stands for the last value of each. `until` as in `counted_value`.
    """
    if all(rule is ValueRule.LAST for rule in rules):
        latest = metrics_at(attempts, names, until)
        last = [value for name in names if is_finite(value := latest.get(name))]
        return tuple(last) if len(last) == len(names) else None
    found = [counted_value(attempts, name, rule, until) for name, rule in zip(names, rules, strict=True)]
    values = [each.value for each in found if each is not None]
    return tuple(values) if len(values) == len(names) else None


def counted_reports(attempts: Sequence[Attempt]) -> Iterator[Report]:
    """Yields the reports of all attempts, without those that a later attempt repeated.

    An attempt that began again from a checkpoint repeats all later steps, and one from scratch repeats everything.
    """
    begins: list[float] = []
    first = float("inf")
    for attempt in reversed(attempts):
        begins.append(first)
        first = min([first, *(report.step for report in attempt.reports)])
    for attempt, begin in zip(attempts, reversed(begins), strict=True):
        yield from (report for report in attempt.reports if report.step < begin)


def counted_curve(points: Sequence[Point], rules: Sequence[ValueRule]) -> tuple[Point, ...]:
    """Returns for each of the ascending points what counts there: the values, or the best ones until then."""
    if all(rule is ValueRule.LAST for rule in rules):
        return tuple(points)
    found: list[Point] = []
    for step, values in points:
        so_far = found[-1][1] if found else values
        pairs = zip(rules, so_far, values, strict=True)
        found.append((step, tuple(rule.of((before, now)) for rule, before, now in pairs)))
    return tuple(found)
