"""A curve keeps what rules need, in little memory, and every decision is that by all points."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hposlurm.pruning import Curve, Decider, PruningDecision, StopRule, recomputed
from hposlurm.pruning import rule as rule_module
from hposlurm.pruning.curve import counted_at
from hposlurm.trial import CountedReport, Objective
from tests.conftest import examples
from tests.pruning.curves import GAIN, LOSS, TWO, report

BEST = (Objective("loss", report=CountedReport.BEST),)
BEST_OF_TWO = tuple(replace(objective, report=CountedReport.BEST) for objective in TWO)
RULES = ["asha_stopping", "median", "percentile", "wilcoxon", "patient", "threshold"]
values = st.one_of(st.integers(0, 4).map(float), st.floats(-1, 1))
# a step and its values; several reports may have one step, and a resumed training goes back
journals = st.lists(st.tuples(st.integers(-1, 2), values, values), max_size=40)


def records_of(journal: list[tuple[int, float, float]]) -> list[dict[str, Any]]:
    step, found = 0, []
    for ahead, loss, acc in journal:
        step = max(1, step + ahead)
        found.append(report(step, loss=loss, acc=acc))
    return found


def decisions_of(rule: StopRule, trials: list[list[dict[str, Any]]]) -> list[tuple[int, PruningDecision]]:
    """The decisions about trials that report in turn, each of which ends when it is stopped or has no more records."""
    deciders = {number: Decider(rule, number) for number in range(len(trials))}
    curves = {number: decider.curve for number, decider in deciders.items()}
    left = {number: [*records, {"kind": "end", "outcome": "complete"}] for number, records in enumerate(trials)}
    found: list[tuple[int, PruningDecision]] = []
    while left:
        for number in [*left]:
            deciders[number].take(left[number].pop(0))
            found += [(number, decision) for decision in deciders[number].decisions(curves)]
            if deciders[number].stopped or not left[number]:
                del left[number]
    for number, decision in found:
        assert recomputed(rule, decision, curves[number], curves) == decision
    return found


@settings(max_examples=examples(60), deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("name", RULES)
def test_decisions_are_those_by_all_points(name: str, data: st.DataObject) -> None:
    rule = StopRule(
        name,
        data.draw(st.sampled_from([LOSS, GAIN, BEST, TWO, BEST_OF_TWO])),
        compare_by=data.draw(st.sampled_from(["first", "weighted"])),
        levels=(1, 3, 9, 27) if name == "asha_stopping" else (),
        patience=data.draw(st.sampled_from([None, 2]) if name != "patient" else st.just(2)),
        upper=0.9,
        warmup_trials=2,
    )
    trials = [records_of(journal) for journal in data.draw(st.lists(journals, min_size=2, max_size=6))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rule_module.StopRule, "kept_at", property(lambda _: ()))
        whole = decisions_of(rule, trials)
    assert decisions_of(rule, trials) == whole


@given(journal=journals, levels=st.sets(st.integers(0, 30), min_size=1).map(sorted))
@pytest.mark.parametrize("objectives", [LOSS, BEST, BEST_OF_TWO])
def test_what_counts_at_a_level_is_kept(
    objectives: tuple[Objective, ...], journal: list[tuple[int, float, float]], levels: list[int]
) -> None:
    few, whole = Curve(objectives, levels), Curve(objectives)
    for record in records_of(journal):
        assert few.take(record) == whole.take(record)
        assert few.last_step == whole.last_step
        for level in levels:
            assert counted_at(few.points, level, objectives) == counted_at(whole.points, level, objectives)


def test_a_curve_at_rungs_has_a_few_points_however_many_were_reported() -> None:
    found = Curve(BEST_OF_TWO, (1, 10, 100, 1_000))
    for step in range(1, 5_001):
        found.take(report(step, loss=1 / step, acc=step % 7))
    assert len(found.points) <= 4 * 5 + 1 and found.last_step == 5_000


def test_a_number_takes_eight_bytes() -> None:
    found = Curve(TWO)
    for step in range(20_000):
        found.take(report(step, loss=step / 7, acc=0.5))
    points = found.points
    assert len(points) == 20_000
    assert sum(map(sys.getsizeof, (points.steps, *points.columns))) < 20_000 * 3 * 8 * 1.2


@pytest.mark.parametrize("step", [2**63, -(2**63), 10**400])
def test_a_step_that_no_record_can_have_is_ignored(step: int) -> None:
    found = Curve(LOSS)
    assert found.take(report(step, loss=1.0)) is None and len(found.points) == 0
