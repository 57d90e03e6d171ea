"""Tests which decisions are due, what is recorded of them, and that they can be recomputed from the records."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hposlurm.pruning import DECISION, Curve, Decider, PruningDecision, StopRule, recomputed
from hposlurm.pruning.decision import from_ranges, to_ranges
from tests.pruning.curves import LOSS, TWO, curve, report

ASHA = StopRule("asha_stopping", LOSS, levels=(1, 3, 9))
THRESHOLD = StopRule("threshold", LOSS, upper=1.0)


def decider_after(rule: StopRule, *records: dict[str, Any]) -> Decider:
    decider = Decider(rule, 0)
    for record in records:
        decider.take(record)
    return decider


def decided(decider: Decider, curves: dict[int, Curve] | None = None) -> list[tuple[int | None, int, bool]]:
    return [(r.level, r.step, r.stops) for r in decider.decisions({0: decider.curve, **(curves or {})})]


def test_each_rung_is_decided_once() -> None:
    decider = decider_after(ASHA, report(1, loss=0.5), report(2, loss=0.5))
    assert decided(decider) == [(1, 1, False)]
    assert not decider.is_due and decided(decider) == []
    for step in (3, 4):
        decider.take(report(step, loss=0.5))
    assert decided(decider) == [(3, 3, False)]


def test_reports_that_arrive_together_are_decided_in_order_until_one_stops() -> None:
    decider = decider_after(ASHA, *(report(step, loss=0.5) for step in range(1, 10)))
    other = curve(0.9, 0.9, 0.1, 0.1)
    assert decided(decider, {1: other}) == [(1, 1, False), (3, 3, True)]
    assert not decider.is_due


def test_a_report_beyond_several_rungs_counts_at_the_highest_of_them() -> None:
    decider = decider_after(ASHA, report(4, loss=0.5), report(8, loss=0.4), report(12, loss=0.3))
    assert decided(decider) == [(3, 4, False), (9, 12, False)]


def test_decisions_of_an_earlier_attempt_remain_valid() -> None:
    first = decider_after(ASHA, report(1, loss=0.5))
    (decision,) = first.decisions({0: first.curve})
    second = decider_after(
        ASHA, report(1, loss=0.5), {"kind": DECISION, "t": 0.0, **decision.to_record()}, report(1, loss=0.7)
    )
    assert not second.is_due
    assert second.curve.points == [(1, (0.5,))]
    stop = PruningDecision("asha_stopping", 1, True, "enough", 1)
    third = decider_after(ASHA, report(1, loss=0.5), {"kind": DECISION, **stop.to_record()}, report(3, loss=0.1))
    assert third.stopped == stop and not third.is_due


def test_decisions_of_another_rule_are_ignored() -> None:
    assert (
        decider_after(ASHA, {"kind": DECISION, **PruningDecision("median", 1, True, "enough").to_record()}).stopped
        is None
    )


def test_a_rule_without_rungs_records_only_a_stop() -> None:
    decider = decider_after(THRESHOLD, report(1, loss=0.5))
    assert decider.is_due and decided(decider) == [] and not decider.is_due
    decider.take(report(2, loss=1.5))
    assert decided(decider) == [(None, 2, True)]


def test_reports_in_the_warm_up_and_broken_reports_need_no_decision() -> None:
    median = StopRule("median", LOSS, warmup_steps=3)
    assert not decider_after(median, report(2, loss=0.5)).is_due
    assert decider_after(median, report(3, loss=0.5)).is_due
    assert not decider_after(median, report(3, loss="nan")).is_due
    assert decider_after(THRESHOLD, report(3, loss="nan")).is_due


def test_a_step_is_known_once_every_objective_is_and_never_changes() -> None:
    found = Curve(TWO)
    assert [found.take(r) for r in (report(1, loss=1.0), report(1, acc=0.5), report(1, loss=9.0))] == [None, 1, None]
    found.take(report(3, loss=0.5, acc=0.6))
    found.take(report(2, loss=0.1, acc=0.9))  # a resumed training that goes back
    assert found.points == [(1, (1.0, 0.5)), (3, (0.5, 0.6))]
    assert found.at(2) == (3, (0.5, 0.6)) and found.at(4) is None
    assert found.until(2) == [(1, (1.0, 0.5))]


@pytest.mark.parametrize(
    "record",
    [{}, {"kind": "report"}, {"kind": "report", "step": "1", "metrics": {}}, {"kind": "end"}, {"kind": DECISION}],
)
def test_a_damaged_record_is_ignored(record: dict[str, Any]) -> None:
    decider = decider_after(ASHA, record, {"kind": DECISION, "rule": "asha_stopping", "rivals": 7})
    assert not decider.is_due and decider.curve.points == []


@given(st.sets(st.integers(0, 200)))
def test_numbers_are_written_and_read_as_ranges(numbers: set[int]) -> None:
    assert from_ranges(to_ranges(sorted(numbers))) == tuple(sorted(numbers))


def test_ranges_are_short() -> None:
    assert to_ranges([0, 1, 2, 3, 7, 9, 10]) == "0-3,7,9-10"


@pytest.mark.parametrize("name", ["asha_stopping", "median", "percentile", "wilcoxon", "patient", "threshold"])
def test_a_decision_is_recomputed_from_complete_records(name: str) -> None:
    """Trials report in turn; decisions made in between are recomputed after all records are complete."""
    levels = (1, 3, 9) if name == "asha_stopping" else ()
    rule = StopRule(name, LOSS, levels=levels, patience=3 if name == "patient" else None, upper=0.9, warmup_trials=2)
    rng = Random(7)
    deciders = {number: Decider(rule, number) for number in range(40)}
    curves = {number: decider.curve for number, decider in deciders.items()}
    found: list[tuple[int, PruningDecision]] = []
    going = list(deciders)
    while going:
        number = rng.choice(going)
        step = int(max(curves[number].last_step, 0)) + 1
        deciders[number].take(report(step, loss=number / 80 + rng.random() / 2))
        found += [(number, decision) for decision in deciders[number].decisions(curves)]
        if deciders[number].stopped or step == 10:
            going.remove(number)
            outcome = "pruned" if deciders[number].stopped else "complete"
            deciders[number].take({"kind": "end", "outcome": outcome})
    assert any(decision.stops for _, decision in found)
    for number, decision in found:
        assert PruningDecision.from_record(decision.to_record()) == decision
        assert recomputed(rule, decision, curves[number], curves) == decision
