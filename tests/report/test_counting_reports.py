"""A table of results is the same without the curves, and needs few of the reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hposlurm.records.layout import StudyLayout
from hposlurm.report.records import read_records
from hposlurm.report.tables import collect
from tests.conftest import examples
from tests.report.test_summary import ONE, TWO, Story, publish
from tests.studies import BEGIN, add_wave, end, make_study, report, start, study_of_completed, write_journal

BEST = ONE.replace("direction: minimize}}", "direction: minimize, report: best}}")
metrics = st.dictionaries(
    st.sampled_from(["eval_loss", "speed", "mem", "f1", "note"]),
    st.one_of(st.sampled_from([0.5, 1.0, 2.0, 40.0]), st.floats(0, 50), st.sampled_from(["nan", "text"])),
    min_size=1,
)
journals = st.lists(st.tuples(st.integers(0, 30), metrics), max_size=25)


def check_equal(layout: StudyLayout) -> None:
    assert collect([read_records(layout, curves=False).results]) == collect([read_records(layout).results])


trials_of = st.lists(st.tuples(st.lists(journals, min_size=1, max_size=2), st.booleans()), min_size=1, max_size=4)


@settings(max_examples=examples(25), deadline=None)
@given(trials=trials_of, data=st.data())
def test_a_table_needs_no_curves(
    trials: list[Any], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    spec = data.draw(st.sampled_from([ONE, BEST, TWO]))
    layout = make_study(tmp_path_factory.mktemp("runs"), spec=spec)
    rules = ("lowest",) if spec == BEST else ()
    names = ("speed", "eval_loss") if spec == TWO else ("eval_loss",)
    add_wave(layout, range(len(trials)), retries=3, objectives=names, value_rules=rules)
    for number, (attempts, in_order) in enumerate(trials):
        for attempt, reports in enumerate(attempts):
            steps = sorted(reports, key=lambda pair: pair[0]) if in_order else reports
            last = {"eval_loss": 0.7, "speed": 2.0}
            records = [report(step, BEGIN + step, **values) for step, values in steps]
            is_last = attempt == len(attempts) - 1
            ended = end("complete", metrics=last) if is_last else end("fail", reason="exit status 1")
            write_journal(layout, number, [start(number, attempt), *records, ended], attempt)
    publish(layout)
    check_equal(layout)


@settings(max_examples=examples(4), deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_study_that_goes_on_has_the_same_table(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    story = Story(tmp_path_factory.mktemp("story"), seed)
    for _ in range(12):
        story.step()
        check_equal(story.layout)


def test_few_reports_are_read(tmp_path: Path) -> None:
    layout = study_of_completed(tmp_path, 3, steps=50)
    publish(layout)
    whole, few = read_records(layout).history, read_records(layout, curves=False).history
    assert [len(trial.reports) for trial in whole.trials] == [50] * 3
    assert all({1, 50} <= {r.step for r in t.reports} and len(t.reports) <= 4 for t in few.trials)
    assert [trial.attempts[0].reported for trial in few.trials] == [50] * 3


def test_trials_that_are_compared_before_their_end_keep_their_curves(tmp_path: Path) -> None:
    spec = ONE.replace("{{algorithm: random, seed: 1}}", "{{algorithm: asha, seed: 1, max_resource: 50}}")
    layout = make_study(tmp_path, spec=spec)
    add_wave(layout, range(1))
    reports = [report(step, BEGIN, eval_loss=1 / step) for step in range(1, 51)]
    write_journal(layout, 0, [start(0), *reports, end("complete", metrics={"eval_loss": 0.02})])
    publish(layout)
    assert len(read_records(layout, curves=False).history.trials[0].reports) == 50
