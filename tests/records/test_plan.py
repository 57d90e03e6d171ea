"""Plans that are whole are read back equal; of a damaged one it is said where it is, what it has and what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hposlurm.errors import StudyError
from hposlurm.records.assignment import Settlement
from hposlurm.records.history import read_history
from hposlurm.records.layout import StudyLayout
from hposlurm.records.plan import WavePlan, read_plan
from hposlurm.trial import JobState, Outcome
from tests.studies import add_wave, assignment, make_study


@pytest.fixture
def layout(tmp_path: Path) -> StudyLayout:
    layout = make_study(tmp_path)
    params = {"bs": 2**70, "lr": 1e-5, "opt": "größe", "flag": True, "none": None}
    settled = [Settlement(0, None, 0, "1_0", JobState.NODE_FAIL, 1.5, 2, Outcome.INTERRUPTED, "x")]
    add_wave(layout, [assignment(0, params)], settled=settled, submitted=False, timeout_s=60)
    return layout


def spoil(layout: StudyLayout, **changes: Any) -> None:
    path = layout.wave(0).plan
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **changes}))


def test_a_plan_is_read_back_equal(layout: StudyLayout) -> None:
    plan = read_plan(layout.wave(0))
    assert WavePlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    assert plan.assignments[0].params["bs"] == 2**70
    assert plan.settled[0].outcome is Outcome.INTERRUPTED


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"wave": 3}, "it is the plan of wave 3"),
        ({"format": 9}, "has format 9; this hposlurm reads format 1 and 2"),
        ({"format": None}, "has format None"),
        ({"objectives": []}, "objectives: the list is empty"),
        ({"objectives": "eval_loss"}, "objectives: 'eval_loss' is not a list"),
        ({"gpus": "2"}, "gpus: '2' is not an integer"),
        ({"gpus": True}, "gpus: True is not an integer"),
        ({"seed": 2**64}, "seed: is out of range"),
        ({"created_at": float("nan")}, "created_at: nan is not a finite number"),
        ({"timeout_s": []}, "timeout_s: "),
        ({"study": "\ud800"}, "study: "),
        ({"surprise": 1}, "'surprise' is unknown"),
        ({"assignments": [{"trial": 0}]}, "assignments: 0: params, signature, seed, command is missing"),
        ({"assignments": [None]}, "assignments: 0: None is not a mapping"),
        ({"settled": [{"trial": 0, "attempt": 0, "wave": 0, "job_id": "1", "state": "LOST"}]}, "settled: 0: state: "),
    ],
)
def test_a_damaged_plan_is_named_with_its_place(layout: StudyLayout, changes: dict[str, Any], words: str) -> None:
    spoil(layout, **changes)
    with pytest.raises(StudyError) as caught:
        read_plan(layout.wave(0))
    assert str(layout.wave(0).plan) in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 5000, b"7"])
def test_what_is_no_plan_at_all_is_damaged(layout: StudyLayout, content: bytes) -> None:
    layout.wave(0).plan.write_bytes(content)
    with pytest.raises(StudyError, match=r"wave\.json is damaged"):
        read_plan(layout.wave(0))


def test_what_to_do_depends_on_whether_anything_was_submitted(layout: StudyLayout) -> None:
    layout.wave(0).plan.write_bytes(b"")
    with pytest.raises(StudyError, match=r"none of its jobs was submitted: move .*waves/0000 away and run"):
        read_plan(layout.wave(0))
    layout.wave(0).intent.touch()
    with pytest.raises(StudyError, match="restore it from a backup"):
        read_plan(layout.wave(0))


def test_a_gap_between_waves_is_an_error_and_not_a_new_beginning(layout: StudyLayout) -> None:
    add_wave(layout, [1])
    layout.wave(0).plan.unlink()
    with pytest.raises(StudyError, match=r"waves/0000/wave\.json is missing, but wave 1 is planned; restore it"):
        read_history(layout)


def test_names_that_only_look_like_numbers_are_foreign(layout: StudyLayout) -> None:
    for name in ("1", "00001", "²", "٣", "x", "-001"):
        folder = layout.root / "waves" / name
        folder.mkdir()
        (folder / "wave.json").touch()
        (layout.root / "trials" / f"{name}0").mkdir(parents=True)
    layout.trial(0).root.mkdir()
    for name in ("attempt-٣.jsonl", "attempt-07.jsonl", "attempt-.jsonl", "attempt-1.jsonl.tmp"):
        (layout.trial(0).root / name).touch()
    (layout.root / "study.².yaml").touch()
    assert layout.waves() == [0]
    assert layout.trial(0).attempts() == []
    assert layout.revisions() == [0]
    assert [trial.number for trial in read_history(layout).trials] == [0]
