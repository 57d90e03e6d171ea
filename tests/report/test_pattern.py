"""What `check --log` shows of a metric pattern."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hposlurm.errors import RequestError
from hposlurm.report.pattern import pattern_lines, try_pattern
from hposlurm.spec import StudySpec, load
from tests.studies import SPEC

PATTERN = r"epoch (?P<step>\S+) loss (?P<eval_loss>\S+)"


def spec_of(directory: Path, pattern: str | None = PATTERN) -> StudySpec:
    path = directory / "study.yaml"
    path.write_text(SPEC.format(name="demo", n_trials=2))
    return load(path, settings=[f"trial.metric_pattern='{pattern}'"] if pattern else [])


def shown(directory: Path, log: bytes, pattern: str = PATTERN) -> list[str]:
    path = directory / "old.log"
    path.write_bytes(log)
    lines = list(pattern_lines(path, try_pattern(spec_of(directory, pattern), path)))
    assert lines[0].startswith(f"{path}: trial.metric_pattern matches ")
    return [lines[0].removeprefix(f"{path}: trial.metric_pattern matches "), *lines[1:]]


def test_reports_are_shown_as_a_trial_would_make_them(tmp_path: Path) -> None:
    log = b"hello\n\x1b[32mepoch 1 loss 0.5\x1b[0m\r\nepoch 1.5 loss 0.4\nepoch 2.0 loss 0.25 epoch 3 loss 0.2"
    assert shown(tmp_path, log) == [
        "3 of 4 lines",
        "  step 1: eval_loss=0.5",
        "  step 2: eval_loss=0.25",
        "  step 3: eval_loss=0.2",
        "note: matches with a step that is not whole, such as '1.5', are left out",
        "a trial that printed this would be COMPLETE with the values at step 3",
    ]


def test_many_reports_are_not_all_shown(tmp_path: Path) -> None:
    lines = shown(tmp_path, b"".join(b"epoch %d loss 1\n" % n for n in range(30)))
    assert (len(lines), lines[11]) == (13, "  … and 20 more")


@pytest.mark.parametrize(
    ("log", "problem"),
    [
        (b"a\nb\n", "reported no metrics at all; trial.metric_pattern matched none of 2 lines of output; try it: "),
        (b"epoch 0.5 loss 1\n", "reported no metrics at all; every match of trial.metric_pattern has a step that is "
         "not a whole number, such as '0.5'"),
        (b"epoch 1 loss 0.5,\n", "eval_loss at step 1 is '0.5,', which is not a number; in trial.metric_pattern, "
         r"[\d.eE+-]+ would match 0.5 only"),
        (b"epoch 1 loss 50.0%\n", "eval_loss at step 1 is '50.0%', which is not a number; in trial.metric_pattern, "
         r"[\d.eE+-]+ would match 50.0 only"),
        (b"epoch 1 loss abc\n", "eval_loss at step 1 is 'abc', which is not a number"),
        (b"epoch 1 loss nan\n", "eval_loss at step 1 is nan"),
    ],
)  # fmt: skip
def test_the_reason_for_which_a_trial_would_fail_is_shown(tmp_path: Path, log: bytes, problem: str) -> None:
    assert shown(tmp_path, log)[-1].startswith(f"a trial that printed this would FAIL: {problem}")


def test_a_line_of_any_length_up_to_a_mebibyte_is_matched(tmp_path: Path) -> None:
    assert shown(tmp_path, b"x" * 1_000_000 + b" epoch 1 loss 0.5\n")[1] == "  step 1: eval_loss=0.5"


def test_what_cannot_be_tried_is_refused(tmp_path: Path) -> None:
    spec = spec_of(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    for name in ("fifo", "missing", "."):
        with pytest.raises(RequestError, match="cannot be read"):
            try_pattern(spec, tmp_path / name)
    with pytest.raises(RequestError, match="the study has none"):
        try_pattern(spec_of(tmp_path, None), tmp_path / "study.yaml")
