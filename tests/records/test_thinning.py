"""However many reports an attempt has, few are kept, and every decision is the same as with all of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hposlurm.decisions import needed_of, observe
from hposlurm.publish import Cursor
from hposlurm.records import fold as folding
from hposlurm.records import journal, report_lines, thinning
from hposlurm.records.fold import fold, read_on, unread
from hposlurm.records.history import read_history, with_reports
from hposlurm.records.retries import reached
from hposlurm.records.thinning import Needed, counting_steps, spacing
from hposlurm.records.values import Point, counted_curve, counted_values
from hposlurm.search.rungs import value_at
from hposlurm.spec.frozen import frozen_spec
from hposlurm.trial import Attempt, Report, ValueRule, is_finite, latest_metrics
from tests.studies import BEGIN, SPEC, add_wave, completed, make_study, publish, report, start, write_journal

NEEDED = Needed(("eval_loss",), (3, 9, 27, 81))
NEEDED_OF_TWO = Needed(("eval_loss", "f1"), (3, 9, 27, 81))
MANY = 1_000_000


@pytest.fixture
def few() -> Iterator[None]:
    """Thins so early, and in such small parts, that short journals show what long ones do."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (thinning, folding):
            patch.setattr(module, "MOST_REPORTS", 8)
            patch.setattr(module, "FEWEST_REPORTS", 4)
        patch.setattr(thinning, "MOST_VALUES", 24)
        patch.setattr(folding, "MOST_SAVED", 3)
        patch.setattr(journal, "_BLOCK", 700)
        patch.setattr(report_lines, "_FEWEST_LINES", 3)
        yield


def attempt_at(path: Path, needed: Needed = NEEDED) -> Attempt:
    return read_on(path, unread(0), needed)


def lines(records: Sequence[dict[str, Any]], **how: Any) -> bytes:
    return b"".join(json.dumps(record, **how).encode() + b"\n" for record in records)


# lists(max_size=60) would nearly always be too short to be thinned
STEPS = st.integers(0, 60).flatmap(lambda size: st.lists(st.integers(0, 3), min_size=size, max_size=size))
VALUES = st.one_of(st.floats(-1e6, 1e6), st.integers(-5, 5), st.sampled_from(["nan", "inf", "fp16"]))
EXTRAS = st.sampled_from([(), (), (), ("f1",), ("f1",), ("f1", "acc"), ("peak_gpu_gb",), ("odd \u00e9",)])


@st.composite
def journals(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Records of a trial that mostly reports ever higher steps, sometimes in pieces, sometimes an earlier one again."""
    found: list[dict[str, Any]] = [start(0)]
    step = 0
    for jump in draw(STEPS):
        step += jump
        here = draw(st.sampled_from([step] * 12 + [max(0, step - 5)]))
        names = (*draw(st.sampled_from([("eval_loss",)] * 9 + [()])), *draw(EXTRAS))
        value = draw(st.floats(-1e6, 1e6)) if draw(st.integers(0, 9)) else draw(VALUES)
        found.append(report(here, BEGIN + len(found), **dict.fromkeys(names, value)))
        if draw(st.integers(0, 9)) == 0:
            found.append({"kind": "checkpoint", "t": BEGIN, "step": step, "path": f"c/{step}"})
    return found


def ascending(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The records without reports of earlier steps."""
    found, last = [], -1
    for record in records:
        if record["kind"] != "report" or record["step"] >= last:
            found.append(record)
            last = record["step"] if record["kind"] == "report" else last
    return found


def every_step(*losses: float | str) -> list[dict[str, Any]]:
    """Reports of these values at steps 1, 2, ..."""
    return [start(0), *(report(step, eval_loss=loss) for step, loss in enumerate(losses, 1))]


LOWEST_BESIDE_A_REPLACED = [
    *every_step(*[5.0] * 19, 2.0, 1.0),
    report(21, eval_loss=9.0),
    *(report(step, eval_loss=5.0) for step in range(22, 40)),
]


@pytest.mark.usefixtures("few")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=journals().map(ascending), compact=st.booleans(), needed=st.sampled_from([NEEDED, NEEDED_OF_TWO]))
@example(LOWEST_BESIDE_A_REPLACED, True, NEEDED)
def test_reading_by_parts_gives_what_folding_every_record_gives(
    tmp_path: Path, records: list[dict[str, Any]], compact: bool, needed: Needed
) -> None:
    path = tmp_path / "journal"
    path.write_bytes(lines(records, separators=(",", ":")) if compact else lines(records))
    whole = fold(unread(0), records, offset=path.stat().st_size, needed=needed)
    assert attempt_at(path, needed) == whole


@pytest.mark.usefixtures("few")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=journals().map(ascending), cut=st.integers(0, 70), needed=st.sampled_from([NEEDED, NEEDED_OF_TWO]))
def test_folding_in_two_steps_thins_as_folding_in_one(records: list[dict[str, Any]], cut: int, needed: Needed) -> None:
    first = fold(unread(0), records[:cut], needed=needed)
    assert fold(first, records[cut:], needed=needed) == fold(unread(0), records, needed=needed)


@pytest.mark.usefixtures("few")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=journals(), cut=st.integers(0, 70))
def test_what_was_reported_last_is_kept_wherever_steps_go_back(
    tmp_path: Path, records: list[dict[str, Any]], cut: int
) -> None:
    path = tmp_path / "journal"
    path.write_bytes(lines(records[:cut]))
    first = attempt_at(path)
    path.write_bytes(lines(records))
    by_parts, whole = read_on(path, first, NEEDED), fold(unread(0), records, needed=NEEDED)
    assert by_parts.checkpoints == whole.checkpoints
    reported = [record for record in records if record["kind"] == "report" and record["metrics"]]
    for attempt in (by_parts, whole):
        steps = {r.step: r.metrics for r in attempt.reports}
        assert not reported or reported[-1]["metrics"].keys() <= steps[reported[-1]["step"]].keys()
        assert latest_metrics([attempt]).keys() == {name for record in reported for name in record["metrics"]}


DIVERGED_AT_A_RUNG = every_step(*[0.0] * 26, "nan", *[0.0] * 10)
REPLACED_LOWEST = [*every_step(*[5.0] * 11, 2.0, *[5.0] * 4, 1.0), report(17, eval_loss=9.0)]
# the lowest losses were reported without the other objective: they are not compared
LOWEST_OF_ONE = [
    *(report(step, eval_loss=5.0 - 2 * (step == 12), f1=0.5) for step in range(1, 17)),
    *(report(step, eval_loss=1.0) for step in range(17, 26)),
    *(report(step, eval_loss=5.0, f1=0.5) for step in range(26, 40)),
]


@pytest.mark.usefixtures("few")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=journals(), needed=st.sampled_from([NEEDED, NEEDED_OF_TWO]))
@example(DIVERGED_AT_A_RUNG, NEEDED)
@example(REPLACED_LOWEST, NEEDED)
@example(LOWEST_OF_ONE, NEEDED_OF_TWO)
def test_what_decisions_need_is_never_thinned_away(records: list[dict[str, Any]], needed: Needed) -> None:
    records = ascending(records)
    thin = fold(unread(0), records, needed=needed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(thinning, "spacing", lambda *_: 1)
        full = fold(unread(0), records, needed=needed)
    assert latest_metrics([thin]) == latest_metrics([full])
    assert reached([thin]) == reached([full])
    assert (thin.reports[:1], thin.reports[-1:], thin.reported) == (full.reports[:1], full.reports[-1:], full.reported)
    assert (thin.peak_gpu_gb, thin.checkpoints, thin.corrupt_lines) == (
        *(full.peak_gpu_gb, full.checkpoints),
        full.corrupt_lines,
    )
    for rule in ValueRule:
        rules = [rule] * len(needed.objectives)
        for rung in needed.rungs:
            until = [counted_values([attempt], needed.objectives, rules, rung) for attempt in (thin, full)]
            assert until[0] == until[1]
            at = [first_at(counted_curve(curve(attempt, needed), rules), rung) for attempt in (thin, full)]
            assert at[0] == at[1]
    for name in needed.objectives:
        assert extremes(thin.reports, name) == extremes(full.reports, name)
    by_number = {r.number: r for r in full.reports}
    assert all(by_number[number] in thin.reports for number in full.saved)


def curve(attempt: Attempt, needed: Needed) -> list[Point]:
    found = [
        (r.step, tuple(v for name in needed.objectives if is_finite(v := r.metrics.get(name)))) for r in attempt.reports
    ]
    return [point for point in found if len(point[1]) == len(needed.objectives)]


def first_at(points: Sequence[Point], rung: int) -> Point | None:
    return next((point for point in points if point[0] >= rung), None)


def extremes(reports: Sequence[Report], name: str) -> tuple[float, float] | None:
    values = [value for r in reports if is_finite(value := r.metrics.get(name))]
    return (min(values), max(values)) if values else None


def test_few_reports_are_all_kept() -> None:
    records = [report(step, eval_loss=1.0 / (step + 1)) for step in range(thinning.MOST_REPORTS)]
    assert len(fold(unread(0), records).reports) == thinning.MOST_REPORTS


@pytest.mark.parametrize(("count", "metrics", "every"), [(2000, 1, 1), (2001, 1, 2), (8001, 1, 8), (2000, 200, 32)])
def test_the_sample_is_even_and_bounded(count: int, metrics: int, every: int) -> None:
    assert spacing(count, metrics) == every


def test_a_flood_of_metric_names_is_capped_and_counted() -> None:
    records = [report(step, **{f"m{step}": 1.0}) for step in range(1500)] + [report(1500, eval_loss=0.5)]
    attempt = fold(unread(0), records, needed=NEEDED)
    names = {name for r in attempt.reports for name in r.metrics}
    assert len(names) == thinning.MOST_METRICS + 1
    assert "eval_loss" in names
    assert attempt.left_out == 500


def thinned_study(runs: Path, steps: int = 60) -> Any:
    search = "search: {{algorithm: asha, max_resource: 54, min_resource: 2, reduction_factor: 3, seed: 1}}"
    layout = make_study(runs, spec=SPEC.replace("search: {{algorithm: random, seed: 1}}", search))
    add_wave(layout, [0])
    losses = {step: 5.0 - 4.0 * (step == 31) + step / 1000 for step in range(1, steps + 1)}
    first, *_, last = completed(0, 1.0)
    reports = [report(step, BEGIN + step, eval_loss=loss) for step, loss in losses.items()]
    write_journal(layout, 0, [first, *reports, {**last, "metrics": {"eval_loss": losses[steps]}}])
    return layout


@pytest.mark.usefixtures("few")
def test_a_search_sees_the_same_values_with_a_thinned_journal(tmp_path: Path) -> None:
    layout = thinned_study(tmp_path)
    spec = frozen_spec(layout)
    needed = needed_of(spec)
    history = read_history(layout, needed=needed)
    (seen,) = observe(history, spec.objectives)
    assert len(history.trial(0).reports) < 20
    assert needed.rungs == (2, 6, 18, 54)
    assert [value_at(seen, rung) for rung in needed.rungs] == [(5.002,), (5.006,), (5.018,), (5.054,)]
    assert seen.values == (5.06,)


@pytest.mark.usefixtures("few")
def test_a_database_without_the_needed_reports_is_not_used_for_them(tmp_path: Path) -> None:
    layout = thinned_study(tmp_path)
    publish(layout, "sqlite", history=read_history(layout, needed=Needed(rungs=(7,))))
    needed = needed_of(frozen_spec(layout))
    before = read_history(layout)
    assert 18 not in {r.step for r in before.trial(0).reports}
    assert 18 in {r.step for r in read_history(layout, needed=needed).trial(0).reports}
    assert with_reports(layout, before, needed) == read_history(layout, use_database=False, needed=needed)
    publish(layout, "sqlite", history=read_history(layout, needed=needed))
    assert with_reports(layout, read_history(layout), needed) == read_history(layout, needed=needed)


@pytest.mark.usefixtures("few")
def test_a_service_receives_each_report_of_a_thinned_journal_once(tmp_path: Path) -> None:
    layout = thinned_study(tmp_path)
    needed = needed_of(frozen_spec(layout))
    cursor = Cursor({})
    history = read_history(layout, needed=needed)
    (first,) = cursor.news(history)
    write_journal(layout, 0, [report(61, BEGIN + 61, eval_loss=1.5)])
    (later,) = cursor.news(read_history(layout, needed=needed))
    assert len(first.reports) == len(history.trial(0).reports)
    assert [r.step for _, r in later.reports] == [61]


def test_reading_continues_where_an_earlier_history_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, [0])
    path = write_journal(layout, 0, [start(0), report(1, eval_loss=2.0)])
    before = read_history(layout)
    size = path.stat().st_size
    write_journal(layout, 0, [report(2, eval_loss=1.0)])
    asked: list[int] = []
    blocks = journal.blocks
    monkeypatch.setattr(journal, "blocks", lambda p, offset=0: asked.append(offset) or blocks(p, offset))
    assert read_history(layout, after=before).trial(0).reports[-1].step == 2
    assert asked == [size]


def test_a_million_reports_are_read_without_decoding_them(tmp_path: Path) -> None:
    """Counts the decoded lines, and the memory of the process: seconds depend on the machine."""
    layout = make_study(tmp_path)
    add_wave(layout, [0])
    path = write_journal(layout, 0, [start(0)])
    with path.open("a") as file:
        file.writelines(
            f'{{"kind":"report","t":{BEGIN + step / 100},"step":{step},"metrics":{{"eval_loss":{1 / (step + 1)}}}}}\n'
            for step in range(MANY)
        )
    script = """
import pathlib, re, sys
from hposlurm.records import journal, fold
decoded = 0
def counted(line, real=journal.json.loads):
    global decoded
    decoded += 1
    return real(line)
journal.json.loads = counted
import hposlurm
study = hposlurm.Study.open(sys.argv[1])
trial = study.records().history.trial(0)
study.rebuild()
# not ru_maxrss, which begins with what the process had that started this one
peak_kb = re.search(r"VmHWM:\\s*(\\d+)", pathlib.Path("/proc/self/status").read_text())[1]
print(len(trial.reports), trial.reports[-1].step, decoded, int(peak_kb) / 1024)
"""
    command = [sys.executable, "-c", script, str(layout.root)]
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environ)
    assert done.returncode == 0, done.stderr
    kept, last, decoded, peak_mb = map(float, done.stdout.split())
    assert last == MANY - 1
    assert kept <= thinning.MOST_REPORTS + 10
    assert decoded < MANY / 20
    assert peak_mb < 300
    assert layout.reports.stat().st_size < 1_000_000


def test_the_steps_that_count_for_a_table_are_few() -> None:
    reports = [Report(step, {"loss": abs(step - 30) + 1.0}, 0.0, step - 1) for step in range(1, 51)]
    reports[9] = Report(10, {"loss": 0.5, "f1": 0.1}, 0.0, 9)
    reports[19] = Report(20, {"f1": 0.9}, 0.0, 19)
    found = counting_steps(reports, Needed(objectives=("loss",)))
    assert {1, 10, 20, 50} <= found and len(found) <= 7
    assert counting_steps([*reports, reports[3]], Needed()) == {*range(1, 51)}
