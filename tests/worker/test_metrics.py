import json
import re
from typing import Any

import pytest

from hposlurm.records.scores import ScoreFormula
from hposlurm.worker.match import groups
from hposlurm.worker.metrics import Ledger, Pattern, buffering_note, from_file


def test_lines_become_records_and_the_last_value_counts() -> None:
    ledger = Ledger()
    records = from_file(
        [b'{"step": 1, "metrics": {"a": 1, "b": "2.5", "peak_gpu_gb": 3}}', b'{"checkpoint": "/c", "step": 1}',
         b'{"step": 2, "metrics": {"a": "nan", "peak_gpu_gb": 2}}'],
        ledger,
    )  # fmt: skip
    assert records == [
        {"kind": "report", "step": 1, "metrics": {"a": 1.0, "b": 2.5, "peak_gpu_gb": 3.0}},
        {"kind": "checkpoint", "step": 1, "path": "/c"},
        {"kind": "report", "step": 2, "metrics": {"a": "nan", "peak_gpu_gb": 2.0}},
    ]
    assert ledger.last == {"a": (2, "nan"), "b": (1, 2.5), "peak_gpu_gb": (2, 2.0)}
    assert (ledger.peak_gpu_gb, ledger.unreadable, ledger.is_stopping) == (3.0, 0, False)


@pytest.mark.parametrize(
    "line",
    [b"eval_loss=1", b"[]", b'{"metrics": {"a": 1}}', b'{"step": "1", "metrics": {}}', b'{"step": true, "metrics": {}}',
     b'{"step": 1}', b'{"step": 1, "metrics": [1]}', b'{"step": 1, "checkpoint": 3}', b'{"stopping": 1}',
     b'{"step": 1.5, "metrics": {"a": 1}}', b'{"step": 1e400, "metrics": {"a": 1}}',
     b'{"step": NaN, "metrics": {"a": 1}}',
     b'{"step": 9223372036854775808, "metrics": {"a": 1}}', b'{"step": 1e300, "metrics": {"a": 1}}',
     b'{"step": 1, "metrics": {"": 1, " \\n": 2}}'],
)  # fmt: skip
def test_what_is_no_report_is_counted(line: bytes) -> None:
    ledger = Ledger()
    assert from_file([line], ledger) == []
    assert (ledger.unreadable, ledger.last) == (1, {})


@pytest.mark.parametrize(
    ("given", "held"), [("NaN", "nan"), ("1e999", "inf"), ("null", "None"), ("true", "True"), ('{"a": 1}', '{"a": 1}')]
)
def test_values_of_other_languages_are_numbers_or_texts(given: str, held: object) -> None:
    (record,) = from_file([b'{"step": 1, "metrics": {"x": %s}}' % given.encode()], Ledger())
    assert record["metrics"] == {"x": held}


@pytest.mark.parametrize(("given", "step"), [("1.0", 1), ("2e3", 2000), ("-0.0", 0), (str(2**63 - 1), 2**63 - 1)])
def test_a_whole_step_may_be_written_as_a_float(given: str, step: int) -> None:
    line = b'{"step": %s, "metrics": {"a": 1}}' % given.encode()
    records = from_file([line, b'{"step": 3.0, "checkpoint": "/c"}'], Ledger())
    assert [record["step"] for record in records] == [step, 3]
    assert all(type(record["step"]) is int for record in records)


def test_the_names_of_metrics_are_one_clean_line() -> None:
    ledger = Ledger()
    given = {"eval\nloss\r": 1, "": 2, "\x1b[31mred": 3, "eval loss": 4, "a" * 300: 5, "é": 6, "two  blanks": 7}
    (record,) = from_file([json.dumps({"step": 1, "metrics": given}).encode()], ledger)
    clean = {"eval loss": 4.0, "[31mred": 3.0, "a" * 200: 5.0, "é": 6.0, "two  blanks": 7.0}
    assert record["metrics"] == clean
    assert (set(ledger.last), ledger.unreadable) == (set(clean), 0)


def test_the_training_s_word_that_it_stops_is_no_report() -> None:
    ledger = Ledger()
    assert from_file([b'{"stopping": true}'], ledger) == []
    assert ledger.is_stopping
    assert ledger.unreadable == 0


def read(pattern: str, *lines: str, reports: Pattern | None = None, ledger: Ledger | None = None) -> list[Any]:
    """The (step, metrics) that a pattern makes of lines."""
    found = [names for line in lines for names in groups(re.compile(pattern), line)]
    records = (reports or Pattern({})).read(found, ledger or Ledger())
    return [(record["step"], record["metrics"]) for record in records]


def test_a_pattern_without_a_step_counts_for_each_metric() -> None:
    pattern, reports, ledger = "loss=(?P<loss>[^ ]+)|f1=(?P<f1>.+)", Pattern({}), Ledger()
    first = read(pattern, "loss=1 x", "f1=0.1", "nothing", reports=reports, ledger=ledger)
    second = read(pattern, "loss=�", reports=reports, ledger=ledger)
    assert (first, second) == ([(1, {"loss": 1.0}), (1, {"f1": 0.1})], [(2, {"loss": "�"})])
    assert ledger.last == {"loss": (2, "�"), "f1": (1, 0.1)}


def test_a_pattern_continues_the_count_of_an_earlier_attempt() -> None:
    assert read("loss=(?P<loss>.*)", "loss=1", reports=Pattern({"loss": 3})) == [(4, {"loss": 1.0})]


def test_a_match_whose_step_is_not_whole_is_left_out() -> None:
    """Epochs 0.5, 1.0, 1.5, 2.0 became steps 1, 1, 3, 2: reports collided, and rules compared wrong values."""
    reports = Pattern({})
    lines = [f"{{'eval_loss': {1 / e}, 'epoch': {e}}}" for e in (0.5, 1.0, 1.6, 2.0)]
    pattern = r"'eval_loss': (?P<loss>[\d.]+), 'epoch': (?P<step>[\d.]+)"
    assert read(pattern, *lines, reports=reports) == [(1, {"loss": 1.0}), (2, {"loss": 0.5})]
    assert reports.uneven_step == "0.5"


@pytest.mark.parametrize("step", ["end", "9e99", "7,", "nan", ""])
def test_a_step_that_is_no_number_is_not_counted_either(step: str) -> None:
    reports = Pattern({})
    assert read(r"(?P<step>\S*): (?P<loss>\S+)", "7: 1", f"{step}: 2", reports=reports) == [(7, {"loss": 1.0})]
    assert reports.uneven_step.strip() == step
    assert read(r"step (?P<step>\d+)", "step 3") == []


def test_every_match_of_a_line_is_a_report() -> None:
    line = "epoch 1 loss 0.5 epoch 2 loss 0.25"
    assert read(r"epoch (?P<step>\d+) loss (?P<loss>\S+)", line) == [(1, {"loss": 0.5}), (2, {"loss": 0.25})]
    assert read(r"(?P<loss>x*)", "no match here") == []  # all of them are empty
    assert len(read(r"(?P<loss>\d)", "1" * 5000)) == 1000


def test_a_path_that_no_file_can_have_is_not_a_checkpoint() -> None:
    """Reading a number from the end of a name takes quadratic time."""
    ledger = Ledger()
    line = json.dumps({"step": 1, "checkpoint": "/" + "1" * 100_000}).encode()
    assert (from_file([line], ledger), ledger.unreadable) == ([], 1)


def test_a_group_reports_the_metric_of_the_study_file_that_it_stands_for() -> None:
    reports = Pattern({"val/loss": 2}, ("val/loss",))
    pattern = r"loss (?P<val__loss>\S+) (?P<other>\S+)"
    assert read(pattern, "loss 0.5 2", reports=reports) == [(3, {"val/loss": 0.5, "other": 2.0})]


def test_a_score_is_added_to_the_report_that_completes_it() -> None:
    ledger = Ledger(scores=[ScoreFormula("score", "loss * (1 + n / 10) + width")], params={"width": 1})
    lines = [
        b'{"step": 1, "metrics": {"loss": 2.0}}',
        b'{"step": 1, "metrics": {"n": 5}}',
        b'{"step": 2, "metrics": {"loss": 4}}',
    ]
    records = from_file(lines, ledger)
    assert [record["metrics"] for record in records] == [
        {"loss": 2.0},
        {"n": 5.0, "score": 4.0},
        {"loss": 4.0, "score": 7.0},
    ]
    assert ledger.last["score"] == (2, 7.0)


@pytest.mark.parametrize(
    ("early", "late", "ran_s", "is_noted"),
    [(0, 9, 300, True), (1, 9, 300, False), (0, 1, 300, False), (0, 9, 5, False)],
)
def test_output_that_comes_only_at_the_end_is_noted(early: int, late: int, ran_s: float, is_noted: bool) -> None:
    assert bool(buffering_note(early, late, ran_s)) is is_noted
    assert not is_noted or "stdbuf -oL" in buffering_note(early, late, ran_s)
