"""Which of a trial's values counts is decided once, for results, rungs, tables and the search."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hposlurm.decisions import observe
from hposlurm.pruning import Curve, StopRule
from hposlurm.pruning.decision import decide
from hposlurm.records.fold import fold, unread
from hposlurm.records.history import read_history
from hposlurm.records.layout import StudyLayout
from hposlurm.records.values import CountedValue, counted_curve, counted_value
from hposlurm.report.export import configuration
from hposlurm.report.records import read_records
from hposlurm.report.tables import collect
from hposlurm.search.rungs import value_at
from hposlurm.spec import load, parse
from hposlurm.trial import CountedReport, Direction, Objective, ValueRule
from tests.studies import BEGIN, SPEC, add_wave, end, make_study, publish, report, start, write_journal

LOSSES = [3.0, 1.0, 2.0, 4.0]
LAST, LOWEST, HIGHEST = ValueRule.LAST, ValueRule.LOWEST, ValueRule.HIGHEST


def journal_of(losses: list[Any], first: int = 1, **changes: Any) -> list[dict[str, Any]]:
    return [
        start(0, **changes),
        *(report(first + i, BEGIN + i, eval_loss=loss) for i, loss in enumerate(losses)),
    ]


@pytest.mark.parametrize(
    ("rule", "counted"), [(LAST, CountedValue(4.0, 4)), (LOWEST, CountedValue(1.0, 2)), (HIGHEST, CountedValue(4.0, 4))]
)
def test_a_rule_chooses_among_all_reports(rule: ValueRule, counted: CountedValue) -> None:
    assert counted_value([fold(unread(0), journal_of(LOSSES))], "eval_loss", rule) == counted


def test_of_equal_best_values_the_first_counts() -> None:
    assert counted_value([fold(unread(0), journal_of([1.0, 2.0, 1.0]))], "eval_loss", LOWEST) == CountedValue(1.0, 1)


def test_what_a_later_attempt_repeated_does_not_count() -> None:
    """A crash may follow a value that is too good to be true; and a checkpoint may be lost with its value."""
    crashed = fold(unread(0), journal_of([3.0, 2.0, 0.0]))
    resumed = fold(unread(1), journal_of([2.5, 1.5], first=3))
    again = fold(unread(1), journal_of([3.5, 2.5]))
    assert counted_value([crashed, resumed], "eval_loss", LOWEST) == CountedValue(1.5, 4)
    assert counted_value([crashed, again], "eval_loss", LOWEST) == CountedValue(2.5, 2)


def test_values_that_are_not_numbers_never_count() -> None:
    attempt = fold(unread(0), journal_of(["nan", 2.0, "inf", 3.0]))
    assert counted_value([attempt], "eval_loss", LOWEST) == CountedValue(2.0, 2)
    assert counted_value([attempt], "f1", LOWEST) is None


def test_a_curve_counts_the_best_until_each_point() -> None:
    points = [(1, (3.0, 1.0)), (2, (1.0, 5.0)), (4, (2.0, 2.0))]
    assert counted_curve(points, [LAST, LAST]) == tuple(points)
    assert counted_curve(points, [LOWEST, HIGHEST]) == ((1, (3.0, 1.0)), (2, (1.0, 5.0)), (4, (1.0, 5.0)))


def overfitting(runs: Path, rule: str, *, complete: bool = True, algorithm: str = "random") -> StudyLayout:
    spec = SPEC.replace("direction: minimize", f"direction: minimize, report: {rule}")
    if algorithm != "random":
        spec = spec.replace("{{algorithm: random, seed: 1}}", "{{algorithm: asha, max_resource: 9, seed: 1}}")
    layout = make_study(runs, spec=spec)
    add_wave(layout, [0], value_rules=(LAST if rule == "last" else LOWEST,))
    saved = {"kind": "checkpoint", "t": BEGIN, "step": 2, "path": "checkpoints/2"}
    first, *reports = journal_of(LOSSES)
    closing_record = end("complete", metrics={"eval_loss": LOSSES[-1]})
    write_journal(layout, 0, [first, *reports[:2], saved, *reports[2:], *([closing_record] if complete else [])])
    return layout


@pytest.mark.parametrize(("rule", "value", "step"), [("last", 4.0, 4), ("best", 1.0, 2)])
def test_results_tables_and_the_database_show_the_value_that_counts(
    tmp_path: Path, rule: str, value: float, step: int
) -> None:
    layout = overfitting(tmp_path, rule)
    records = read_records(layout)
    trial = records.history.trial(0)
    assert trial.values == (value,)
    assert collect([records.results]).rows[0]["eval_loss"] == value
    (seen,) = observe(records.history, records.spec.objectives)
    assert seen.values == (value,)
    found = configuration(records.results, trial)
    assert (found.values, found.steps, found.metrics["eval_loss"]) == ({"eval_loss": value}, {"eval_loss": step}, 4.0)
    assert found.checkpoint == ("checkpoints/2" if rule == "best" else None)
    publish(layout)
    assert f",{value}," in layout.results.read_text()
    with closing(sqlite3.connect(layout.database)) as connection:
        assert connection.execute("SELECT value FROM objective_values").fetchall() == [(value,)]


@pytest.mark.parametrize(("rule", "values"), [("last", [3.0, 2.0, 4.0]), ("best", [3.0, 1.0, 1.0])])
def test_a_rung_compares_what_counts_until_there(tmp_path: Path, rule: str, values: list[float]) -> None:
    layout = overfitting(tmp_path, rule, complete=False, algorithm="asha")
    records = read_records(layout)
    (seen,) = observe(records.history, records.spec.objectives)
    assert [value_at(seen, rung) for rung in (1, 3, 4)] == [(value,) for value in values]


@pytest.mark.parametrize(("choice", "stops"), [(CountedReport.LAST, True), (CountedReport.BEST, False)])
def test_the_stopping_rule_at_rungs_compares_what_counts(choice: CountedReport, stops: bool) -> None:
    objectives = (Objective("eval_loss", report=choice),)
    rule = StopRule("asha_stopping", objectives, levels=(3,), reduction_factor=2)
    own, other = Curve(objectives), Curve(objectives)
    for step, (mine, theirs) in enumerate([(0.5, 3.0), (3.0, 3.0), (3.0, 1.0)], 1):
        own.take(report(step, eval_loss=mine))
        other.take(report(step, eval_loss=theirs))
    assert decide(rule, own, {1: other}, 3, 3).stops is stops


def test_a_threshold_is_not_hidden_by_an_earlier_good_value() -> None:
    objectives = (Objective("eval_loss", report=CountedReport.BEST),)
    own = Curve(objectives)
    for step, loss in enumerate([0.5, 9.0], 1):
        own.take(report(step, eval_loss=loss))
    assert decide(StopRule("threshold", objectives, upper=5.0), own, {}, 2).stops


def study_file(**changes: Any) -> dict[str, Any]:
    return {
        "name": "new",
        "objectives": [{"name": "loss"}, {"name": "f1", "direction": "maximize", "report": "last"}],
        "parameters": {"lr": {"type": "float", "min": 0.1, "max": 1.0}},
        "budget": {"n_trials": 2},
        "trial": {"command": "true {{ lr }}"},
        **changes,
    }


def test_in_a_new_file_the_best_report_counts_unless_it_asks_for_the_last() -> None:
    spec = parse(study_file(), "x")
    assert [(o.report, o.rule) for o in spec.objectives] == [
        (CountedReport.BEST, LOWEST),
        (CountedReport.LAST, LAST),
    ]


def test_in_a_population_the_last_report_counts() -> None:
    search = {"algorithm": "pbt", "population_size": 4, "perturbation_interval": 1, "max_resource": 3}
    mutable = {"lr": {"type": "float", "min": 0.1, "max": 1.0, "mutable": True}}
    spec = parse(study_file(objectives=[{"name": "loss"}], search=search, parameters=mutable, budget={}), "x")
    assert spec.objectives[0].report is CountedReport.LAST
    with pytest.raises(Exception, match=r"objectives.0.report: best is not for pbt, .*\(last, or remove it\)"):
        best = [{"name": "loss", "report": "best"}]
        parse(study_file(objectives=best, search=search, parameters=mutable, budget={}), "x")


def test_a_study_that_was_launched_before_keeps_the_last_report(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    for how in ({"frozen": True}, {"launched": True}):
        assert load(layout.spec(), **how).objectives[0].report is CountedReport.LAST
    add_wave(layout, [0])
    write_journal(layout, 0, [*journal_of(LOSSES), end("complete", metrics={"eval_loss": 4.0})])
    assert read_history(layout).trial(0).values == (4.0,)


def test_the_direction_decides_what_is_best() -> None:
    assert Objective("f1", Direction.MAXIMIZE, report=CountedReport.BEST).rule is HIGHEST
    assert Objective("f1", Direction.MAXIMIZE).rule is LAST
