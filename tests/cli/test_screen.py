"""Whatever a trial, a file name or a record contains: no control character reaches a screen or a table."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from hposlurm.records.layout import StudyLayout
from tests.cli.run import Run
from tests.studies import (
    add_wave,
    assignment,
    completed,
    end,
    failed,
    make_study,
    publish,
    report,
    start,
    write_journal,
    write_log,
)

EVIL = "\x1b[2J\x1b]0;owned\x07\u202eevil\r\x9b31m\x7f\x08"
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
VERBS = [
    ("status", "demo"), ("status", "demo", "--format", "json"), ("list",), ("list", "--format", "json"),
    *(("collect", "demo", "--format", style) for style in ("table", "csv", "json", "markdown", "latex")),
    ("best", "demo"), ("best", "demo", "--format", "json"), ("best", "demo", "--top", "2"), ("explain", "demo"),
    ("explain", "demo", "0"), ("explain", "demo", "0", "--format", "json"), ("logs", "demo", "0"),
    ("logs", "demo", "1"), ("logs", "demo", "3"), ("gc", "demo", "--keep", "0"), ("gc", "demo", "--dry-run"),
    ("rebuild", "demo"),
    ("cancel", "demo", "7"), ("collect", EVIL), ("check", EVIL), ("cancel", EVIL), ("collect", "broken"),
    ("collect", "bent"),
]  # fmt: skip


@pytest.fixture
def demo(runs: Path) -> StudyLayout:
    layout = make_study(runs)
    add_wave(layout, [assignment(n, {"bs": EVIL, "lr": 0.1, EVIL: 1}) for n in range(4)], notes=(EVIL,), retries=0)
    write_journal(layout, 0, completed(0, 1.0, **{EVIL: EVIL}))
    write_journal(layout, 1, failed(1, reason=EVIL, tail=[EVIL], host=EVIL))
    write_journal(layout, 2, [start(2, host=EVIL), report(1, eval_loss=EVIL), end("infeasible", reason=EVIL)])
    write_journal(layout, 3, [start(3, log=f"waves/{EVIL}.out")])
    write_log(layout, 0, f"{EVIL}\n{EVIL}")
    write_log(layout, 0, f"{EVIL}\n{EVIL}", stream="err")
    for number in range(3):
        for name in (EVIL, f"partial-{EVIL}", "notes"):
            (layout.trial(number).checkpoints / name).mkdir(parents=True)
    for name in ("broken", "bent"):
        other = make_study(runs, name)
        other.wave(0).root.mkdir(parents=True)
        other.wave(0).plan.write_text(json.dumps({"format": EVIL if name == "bent" else 2, EVIL: 1}))
    (runs / EVIL).mkdir()
    return layout


@pytest.mark.usefixtures("demo")
@pytest.mark.parametrize("words", VERBS, ids=lambda words: " ".join(words).encode("ascii", "replace").decode()[:40])
def test_no_control_character_reaches_the_screen(run: Run, words: tuple[str, ...]) -> None:
    done = run(*words)
    assert CONTROL.findall(done.out) == []
    assert CONTROL.findall(done.err) == []
    assert "Traceback" not in done.err


def test_published_tables_have_neither_controls_nor_formulas(demo: StudyLayout, run: Run) -> None:
    write_journal(demo, 3, [report(1, **{"=x": "=1+1"}), end("fail", reason='=HYPERLINK("x")')])
    publish(demo)
    for path in (demo.results, demo.reports):
        text = path.read_text()
        assert CONTROL.findall(text) == []
        assert re.search(r'(^|,)"?[=@]', text) is None
    safe, plain = (run("collect", "demo", "--format", "csv", *option).out for option in (["--safe"], []))
    assert ("'=1+1" in safe, "'=1+1" in plain, "=1+1" in plain) == (True, False, True)
