"""Studies by what they found and what it cost; trials side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hposlurm.errors import RequestError
from hposlurm.report.compare import StudyCost, compare_studies, compare_trials, cost_sheet, cost_table
from hposlurm.report.page.timeline import timeline
from hposlurm.report.records import StudyRecords, read_records
from tests.studies import BEGIN, SPEC, add_wave, assignment, end, failed, make_study, report, start, write_journal

# In a local study nothing waits in a queue
IN_CLUSTER = SPEC.replace("backend: local", "backend: auto")


def attempt(trial: int, begin: float, losses: list[float], wave: int = 0, **how: Any) -> list[dict[str, Any]]:
    """Reports once per 600 s on two GPUs, and ends 600 s after the last report."""
    outcome = how.pop("outcome", "complete")
    reports = [report(i + 1, begin + 600 * (i + 1), eval_loss=loss) for i, loss in enumerate(losses)]
    extra = how.pop("extra", [])
    number = how.pop("attempt", 0)
    last = end(outcome, begin + 600 * (len(losses) + 1), **how)
    return [start(trial, number, wave, t=begin), *reports, *extra, last]


def study(runs: Path, name: str, losses: dict[int, list[float]], spec: str = SPEC) -> StudyRecords:
    """Trials start one after the other, an hour apart, the first one 300 s after the plan."""
    layout = make_study(runs, name, len(losses), spec)
    add_wave(layout, [assignment(n) for n in losses])
    for number, own in losses.items():
        write_journal(layout, number, attempt(number, BEGIN + 300 + 3600 * number, own))
    return read_records(layout)


def test_what_it_cost_to_find_the_best_value(tmp_path: Path) -> None:
    slow = study(tmp_path, "slow", {0: [3.0, 2.0], 1: [2.0, 1.0]}, IN_CLUSTER)
    fast = study(tmp_path, "fast", {0: [1.5, 0.5]})
    a, b = compare_studies([slow, fast])
    # trial 0 ran for 1,800 s, trial 1 had run for 1,200 s when it reported 1.0; two GPUs each
    assert (a.best, a.best_trial, a.time_to_best, a.gpu_minutes_to_best) == (1.0, 1, 300 + 3600 + 1200, 100.0)
    assert (a.gpu_hours, a.trial_time, a.wall_time, a.queue_wait) == (2.0, 3600.0, 5700.0, (300 + 3900) / 2)
    assert (a.cost_ratio, b.cost_ratio) == (1.0, 0.5)
    assert (b.gpu_minutes_to_best, b.gpu_minutes_to_baseline) == (40.0, 40.0)
    assert (b.gpus, b.trials, b.stopped) == (2, 1, 0.0)
    other = compare_studies([slow, fast], baseline=1)
    assert (other[0].cost_ratio, other[0].gpu_minutes_to_baseline) == (2.0, None)


def test_hours_that_came_to_nothing(tmp_path: Path) -> None:
    layout = make_study(tmp_path, "demo", 3)
    add_wave(layout, range(3), retries=2)
    saved = {"kind": "checkpoint", "t": BEGIN + 600, "step": 1, "path": "checkpoints/1"}
    write_journal(layout, 0, attempt(0, BEGIN, [2.0, 1.0], outcome="interrupted", extra=[saved]))
    write_journal(layout, 1, attempt(1, BEGIN, [2.0], outcome="interrupted"))
    write_journal(layout, 2, failed(2))
    (cost,) = compare_studies([read_records(layout)])
    # 1,200 s after the last saved step, and all 1,200 s of the attempt that saved nothing; two GPUs
    assert cost.lost_gpu_hours == pytest.approx(2 * (1200 + 1200) / 3600)
    assert cost.failed_gpu_hours == pytest.approx(2 * 60 / 3600)
    assert (cost.best, cost.time_to_best, cost.gpu_minutes_to_best) == (None, None, None)


def test_studies_of_different_objectives_are_not_compared(tmp_path: Path) -> None:
    one = study(tmp_path, "one", {0: [1.0]})
    other = study(tmp_path, "other", {0: [1.0]}, SPEC.replace("minimize", "maximize"))
    with pytest.raises(RequestError, match=r"different first objectives \(one: eval_loss, other: eval_loss\)"):
        compare_studies([one, other])


def test_the_table_has_a_row_per_study(tmp_path: Path) -> None:
    table = cost_table(compare_studies([study(tmp_path, "one", {0: [1.0]})]))
    assert table.columns == tuple(StudyCost.__dataclass_fields__)
    assert table.rows[0]["study"] == "one"


def test_trials_side_by_side_with_what_differs_marked(tmp_path: Path) -> None:
    found = study(tmp_path, "demo", {0: [2.0, 2.5], 1: [1.0]})
    table = compare_trials([(found, trial) for trial in found.history.trials])
    heads = ("0 bs=1 lr=1e-05", "1 bs=2 lr=2e-05")
    assert table.columns == ("", "differs", *heads)
    rows = {row[""]: (row["differs"], row[heads[0]], row[heads[1]]) for row in table.rows}
    assert rows["bs"] == ("*", 1, 2)
    assert rows["state"] == ("", "COMPLETE", "COMPLETE")
    assert rows["eval_loss.best"] == ("*", 2.0, 1.0)
    assert rows["eval_loss.last"] == ("*", 2.5, 1.0)
    assert rows["eval_loss.best_step"] == ("", 1, 1)


def test_equal_trials_keep_a_column_each(tmp_path: Path) -> None:
    found = study(tmp_path, "demo", {0: [2.0]})
    trial = found.history.trials[0]
    assert compare_trials([(found, trial), (found, trial)]).columns == ("", "differs", "0", "0 (2)")


@pytest.mark.parametrize("count", [1, 7])
def test_as_many_trials_as_fit_on_a_screen(tmp_path: Path, count: int) -> None:
    found = study(tmp_path, "demo", {0: [2.0]})
    with pytest.raises(RequestError, match=f"2 to 6 trials side by side, not {count}"):
        compare_trials([(found, found.history.trials[0])] * count)


@pytest.mark.parametrize(
    ("more", "wait_s"),
    [
        ("", (300 + 3900) / 2),
        # the second had its place when the first ended, 1,800 s after its start
        ("waves: {{max_concurrent: 1}}\n", (300 + 1800) / 2),
        ("backend: local\n", 0.0),
    ],
)
def test_the_wait_in_the_queue_is_that_of_the_page(more: str, wait_s: float, tmp_path: Path) -> None:
    spec = SPEC if "backend" in more else IN_CLUSTER + more
    records = study(tmp_path, "demo", {0: [3.0, 2.0], 1: [2.0, 1.0]}, spec)
    (cost,) = compare_studies([records])
    shown = timeline(records, BEGIN, BEGIN + 9000)
    assert shown is not None
    assert cost.queue_wait == shown.waited_s / len(shown.rows) == wait_s


def test_a_break_between_the_end_and_a_resume_is_not_the_studys_time(tmp_path: Path) -> None:
    layout = make_study(tmp_path, "demo", 2)
    add_wave(layout, [0], created_at=BEGIN)
    add_wave(layout, [], created_at=BEGIN + 2000, finished="all trials are done")
    add_wave(layout, [1], created_at=BEGIN + 80000)
    write_journal(layout, 0, attempt(0, BEGIN, [2.0]))
    write_journal(layout, 1, attempt(1, BEGIN + 80000, [1.0], wave=2))
    records = read_records(layout)
    (cost,) = compare_studies([records])
    assert (cost.wall_time, cost.time_to_best) == (2000 + 1200, 2000 + 600)
    shown = timeline(records, BEGIN, BEGIN + 81200)
    assert shown is not None and shown.idle_share == pytest.approx(1 - 2400 / 3200, abs=1e-3)


def test_the_sheet_for_people_has_units_and_nothing_that_is_zero_everywhere(tmp_path: Path) -> None:
    slow = study(tmp_path, "slow", {0: [3.0, 2.0], 1: [2.0, 1.0]})
    fast = study(tmp_path, "fast", {0: [1.5, 0.5]})
    sheet = cost_sheet(compare_studies([slow, fast], 1), 1)
    assert sheet.columns == ("", "slow", "fast")
    told = {row[""]: row["slow"] for row in sheet.rows}
    assert told["cost_ratio (to fast)"] == 2.0 and told["wall_time"] == "1h35m"
    assert not {"stopped", "failed_gpu_hours", "queue_wait", "study"} & told.keys()
