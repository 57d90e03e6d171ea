"""Rows are flat, their columns stable, and no name hides another."""

from __future__ import annotations

from pathlib import Path

import pytest

from hposlurm.history import History, read_history
from hposlurm.publish.rows import columns, printable, result_row
from tests.studies import add_wave, assignment, completed, failed, make_study, write_journal


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
        *("trial", "state", "wave", "attempts", "param.wave", "f1"),
        *("eval_loss", "metric.runtime", "metric.f1", "runtime", "gpu_hours", "node", "reason"),
    )
    assert (row["wave"], row["param.wave"]) == (0, 7)
    assert (row["runtime"], row["metric.runtime"]) == (3600.0, 9.0)
    assert (row["f1"], row["metric.f1"]) == (8, 10.0)


def test_a_prefixed_name_that_is_taken_too_gets_another(tmp_path: Path) -> None:
    history = history_of(tmp_path, {"metric.runtime": 1}, runtime=2.0)
    row = result_row(history.trial(0), columns([history]))
    assert (row["metric.runtime"], row["metric.metric.runtime"]) == (1, 2.0)


def test_a_failure_has_its_reason_and_its_last_words_in_one_line(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, [0])
    write_journal(layout, 0, failed(0, reason="it\nfailed", tail=["first", "Value\x1b[31mError: x\x1b[0m", "  "]))
    history = read_history(layout)
    assert result_row(history.trial(0), columns([history]))["reason"] == "it failed: ValueError: x"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain", "plain"),
        ("a\tb\n c ", "a b c"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        (" 10%|#|\r 20%|##|\r 30%|###|", "30%|###|"),
        ("done\r", "done"),
        ("bell\x07 null\x00", "bell null"),
        ("é 中", "é 中"),
    ],
)
def test_text_from_a_program_cannot_move_the_cursor(text: str, line: str) -> None:
    assert printable(text) == line
