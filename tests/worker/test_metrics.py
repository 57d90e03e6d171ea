import json
import re

import pytest

from hposlurm.worker.metrics import Ledger, Pattern, from_file


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


def test_a_pattern_without_a_step_counts_for_each_metric() -> None:
    pattern = Pattern("loss=(?P<loss>[^ ]+)|f1=(?P<f1>.+)")
    ledger = Ledger()
    first = pattern.read([b"loss=1 x", b"f1=0.1", b"nothing"], ledger)
    second = pattern.read([b"loss=\xff"], ledger)
    assert [(r["step"], r["metrics"]) for r in first] == [(1, {"loss": 1.0}), (1, {"f1": 0.1})]
    assert [(r["step"], r["metrics"]) for r in second] == [(2, {"loss": "�"})]
    assert ledger.last == {"loss": (2, "�"), "f1": (1, 0.1)}


def test_a_step_that_is_no_number_is_counted_instead() -> None:
    pattern = Pattern(r"(?P<step>\S+): (?P<loss>\S+)")
    records = pattern.read([b"7: 1", b"end: 2", b"9e99: 3"], Ledger())
    assert [r["step"] for r in records] == [7, 2, 3]
    assert Pattern(r"step (?P<step>\d+)").read([b"step 3"], Ledger()) == []


def test_a_broken_pattern_is_an_error() -> None:
    with pytest.raises(re.error):
        Pattern("(")
