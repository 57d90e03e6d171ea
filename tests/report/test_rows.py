"""Rows are flat, their columns stable, and no name hides another."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from hposlurm.records.history import History, read_history
from hposlurm.report.progress import progress
from hposlurm.report.progress_text import screen
from hposlurm.report.records import read_records
from hposlurm.report.rows import columns, result_row, to_csv
from tests.studies import BEGIN, add_wave, assignment, completed, end, failed, make_study, report, start, write_journal


def history_of(tmp_path: Path, params: dict[str, object], **metrics: float) -> History:
    layout = make_study(tmp_path)
    add_wave(layout, [assignment(0, params)])
    write_journal(layout, 0, completed(0, 1.0, **metrics))
    return read_history(layout)


def test_names_that_are_taken_get_a_prefix(tmp_path: Path) -> None:
    history = history_of(tmp_path, {"wave": 7, "f1": 8}, runtime=9.0, f1=10.0)
    names = columns([history])
    row = result_row(history.trial(0), names)
    assert names.names == (
        *("trial", "state", "wave", "attempts", "step", "param.wave", "f1"),
        *("eval_loss", "eval_loss.best", "eval_loss.best_step", "eval_loss.last"),
        *("metric.runtime", "metric.f1", "runtime", "gpu_hours"),
        *("peak_host_gb", "peak_gpu_gb", "node", "reason"),
    )
    assert (row["wave"], row["param.wave"]) == (0, 7)
    assert (row["runtime"], row["metric.runtime"]) == (3600.0, 9.0)
    assert (row["f1"], row["metric.f1"]) == (8, 10.0)


def test_a_prefixed_name_that_is_taken_too_gets_another(tmp_path: Path) -> None:
    history = history_of(tmp_path, {"metric.runtime": 1}, runtime=2.0)
    row = result_row(history.trial(0), columns([history]))
    assert (row["metric.runtime"], row["metric.metric.runtime"]) == (1, 2.0)


def test_the_peaks_of_memory_are_in_every_row_whoever_measured_them(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, [0, 1])
    memory = {"kind": "memory", "t": 1.0, "peak_host_gb": 1.5, "peak_gpu_gb": None}
    *records, last = completed(0, 1.0, peak_gpu_gb=4.0)
    write_journal(layout, 0, [*records, memory, last])
    write_journal(layout, 1, [start(1), report(1, 2.0, peak_gpu_gb=7.0, peak_host_gb=0.5)])  # killed: no last word
    write_journal(layout, 1, [start(1, 1), {**memory, "peak_host_gb": 2.5}, report(1, 2.0, peak_gpu_gb=6.0)], 1)
    history = read_history(layout)
    names = columns([history])
    assert names.names[-6:] == ("runtime", "gpu_hours", "peak_host_gb", "peak_gpu_gb", "node", "reason")
    assert names.names.count("peak_gpu_gb") == 1
    peaks = [(row["peak_host_gb"], row["peak_gpu_gb"]) for row in (result_row(t, names) for t in history.trials)]
    assert peaks == [(1.5, 4.0), (2.5, 7.0)]


def test_an_objective_or_a_parameter_called_like_a_peak_keeps_its_name(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, [assignment(0, {"peak_host_gb": 3})], objectives=("peak_gpu_gb",))
    records = completed(0, 1.0, peak_gpu_gb=9.0, peak_host_gb=1.0)
    write_journal(layout, 0, [*records[:-1], report(2, 3.0, peak_gpu_gb=8.0), {**records[-1], "metrics": {}}])
    history = read_history(layout)
    row = result_row(history.trial(0), columns([history]))
    assert (row["peak_gpu_gb"], row["peak_host_gb"], row["metric.peak_host_gb"]) == (8.0, 3, 1.0)
    assert tuple(row) == columns([history]).names


def test_a_clock_that_is_set_back_gives_no_negative_runtime(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, [0])
    early, late = start(0, t=BEGIN), start(0, 1, t=BEGIN - 300)  # the second node's clock is five minutes behind
    write_journal(layout, 0, [early, report(1, BEGIN + 5, eval_loss=9.0), end("interrupted", BEGIN - 60)])
    write_journal(layout, 0, [late, report(1, BEGIN - 299, eval_loss=1.0), end("complete", BEGIN - 290)], 1)
    trial = read_history(layout).trial(0)
    assert (trial.runtime_s, trial.values) == (10.0, (1.0,))  # the later attempt counts, whatever its clock says
    assert trial.gpu_hours == 2 * 10 / 3600
    assert trial.attempts[0].gpu_hours == 0.0


def test_a_failure_has_its_reason_and_its_last_words_in_one_line(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, [0])
    write_journal(layout, 0, failed(0, reason="it\nfailed", tail=["first", "Value\x1b[31mError: x\x1b[0m", "  "]))
    history = read_history(layout)
    assert result_row(history.trial(0), columns([history]))["reason"] == "it failed: ValueError: x"


@pytest.mark.parametrize(
    ("reason", "last", "told"),
    [
        ("status 3: ValueError: boom", "ValueError: boom", "status 3: ValueError: boom"),
        ("boom", "boom\x1b[0m", "boom"),
        (f"status 1: E: {'x' * 150}", f"E: {'x' * 300}", f"status 1: E: {'x' * 150}"),
        ("out of memory (status 1: E: boom)", "E: boom", "out of memory (status 1: E: boom)"),
        ("status 1", "1", "status 1: 1"),
    ],
)
def test_last_words_that_the_reason_has_are_not_repeated(tmp_path: Path, reason: str, last: str, told: str) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, [0])
    write_journal(layout, 0, failed(0, reason=reason, tail=[last]))
    history = read_history(layout)
    assert result_row(history.trial(0), columns([history]))["reason"] == told


def test_the_reason_says_what_does_not_fit(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, [0])
    said = end("infeasible", reason="out of GPU memory: no room", exit_code=1, tail=["bye"])
    write_journal(layout, 0, [start(0), said])
    history = read_history(layout)
    row = result_row(history.trial(0), columns([history]))
    assert (row["state"], row["reason"]) == ("FAIL", "infeasible: out of GPU memory: no room: bye")


def test_of_very_many_metrics_only_the_first_have_a_column(tmp_path: Path) -> None:
    """3,000 names in 3,000 rows would be nine million cells."""
    layout = make_study(tmp_path)
    add_wave(layout, [0])
    steps = [report(step, **{f"m{step}": 1.0}) for step in range(900)]
    write_journal(layout, 0, [start(0), *steps, report(900, eval_loss=2.0), end("complete", metrics={})])
    history = read_history(layout)
    names = columns([history])
    row = result_row(history.trial(0), names)
    assert (len(names.metrics), names.left_out) == (200, 701)
    assert (row["eval_loss"], row["m0"], "m300" in row) == (2.0, 1.0, False)


def test_who_reports_too_many_metrics_is_said(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, [0])
    write_journal(layout, 0, [start(0), *(report(step, **{f"m{step}": 1.0}) for step in range(1100))])
    view = progress(read_records(layout), now=BEGIN)
    assert view.left_out == {0: 100}
    console = Console(width=80, file=io.StringIO())
    console.print(screen(view))
    assert "note       trial 0 reported more than 1,000 metrics" in console.file.getvalue()


def test_csv_has_no_control_characters_and_on_request_no_formulas() -> None:
    row = {"=x": "=1+1", "n": -1.5, "t": "-1.5", "c": "a\x1b[31mb\rc"}
    assert to_csv([*row], [row]) == '=x,n,t,c\n=1+1,-1.5,-1.5,"ab\nc"\n'
    assert to_csv([*row], [row], is_safe=True).splitlines()[:2] == ["'=x,n,t,c", "'=1+1,-1.5,-1.5,\"ab"]
