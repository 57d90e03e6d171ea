"""A trial that begins with another one's checkpoint: the copy is its own, and whoever runs first makes it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hposlurm.errors import StudyError
from hposlurm.records.assignment import Assignment
from hposlurm.records.plan import WavePlan
from hposlurm.worker.handover import hand_over, take_over
from tests.worker.study import Study, report

PARENT = "trials/00007/checkpoints"


@pytest.fixture
def study(tmp_path: Path) -> Study:
    study = Study(tmp_path / "study", tmp_path / "tmp")
    for directory in (study.root, study.scratch):
        directory.mkdir()
    return study


def save(study: Study, name: str, *, marked: bool = True) -> Path:
    """A checkpoint of trial 7: a directory, or a file where the name has an ending."""
    path = study.root / PARENT / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix:
        path.write_bytes(b"weights")
        mark = path.with_name(f"{name}.COMPLETE")
    else:
        (path / "shards").mkdir(parents=True)
        (path / "shards" / "0.pt").write_bytes(b"weights")
        mark = path / "COMPLETE"
    if marked:
        mark.touch()
    return path


def child(name: str) -> Assignment:
    return Assignment(1, {}, "01234567", 5, "true", resume_from=f"{PARENT}/{name}")


@pytest.mark.parametrize("name", ["step-8", "step_8.pt"])
def test_a_copy_does_not_change_when_its_origin_is_written_again(study: Study, name: str) -> None:
    origin = save(study, name)
    copy = take_over(study.layout, child(name), 0)
    assert copy == study.trial(1).checkpoints / name
    file = Path("shards/0.pt") if origin.is_dir() else Path()
    (origin / file).write_bytes(b"others!")
    assert (copy / file).read_bytes() == b"weights"
    assert take_over(study.layout, child(name), 1) == copy  # made once
    assert (copy / file).read_bytes() == b"weights"
    assert not list(copy.parent.glob(".copy-*"))


@pytest.mark.parametrize("name", ["step-8", "step_8.pt"])
def test_what_is_not_whole_is_not_copied(study: Study, name: str) -> None:
    save(study, name, marked=False)
    with pytest.raises(StudyError, match=f"{name}, cannot be used: it is gone, or not marked"):
        take_over(study.layout, child(name), 0)
    assert not study.trial(1).checkpoints.exists()


def test_the_parent_hands_over_before_it_trains_on(study: Study) -> None:
    """Its training may delete the checkpoint before the child's job has even started."""
    save(study, "step-8")
    others = (child("step-8"), Assignment(2, {}, "01234567", 5, "true", resume_from="trials/00003/checkpoints/step-8"))
    plan = WavePlan(1, "demo", 0.0, "study.yaml", 0, ("eval_loss",), "/", assignments=others)
    hand_over(study.layout, plan, 7, 0)
    assert (study.trial(1).checkpoints / "step-8" / "COMPLETE").exists()
    assert not study.trial(2).checkpoints.exists()


def test_a_new_trial_goes_on_from_its_copy(study: Study) -> None:
    save(study, "step-8")
    study.plan(
        f'echo "$HPOSLURM_RESUME_FROM" > resumed; {report(9, eval_loss=1.0)}',
        assignment={"resume_from": f"{PARENT}/step-8", "from_step": 8},
    )
    assert study.run()[0] == 0
    own = str(study.trial().checkpoints / "step-8")
    assert study.file("resumed") == own
    start = study.record("start")
    assert (start["resumed_from"], start["copied_from"]) == (own, f"{PARENT}/step-8")


def test_a_new_trial_whose_checkpoint_is_gone_fails_and_does_not_begin_from_scratch(study: Study) -> None:
    study.plan("echo ran > ran", assignment={"resume_from": f"{PARENT}/step-8", "from_step": 8})
    assert study.run()[0] == 1
    outcome, reason = study.end()
    assert outcome == "fail"
    assert reason == f"the checkpoint to begin with, {PARENT}/step-8, cannot be used: it is gone, or not marked"
    assert not (study.root / "ran").exists()


def test_a_copy_without_a_checkpoint_to_begin_with_fails_and_never_starts_from_scratch(study: Study) -> None:
    command = f"touch begun; {report(3, eval_loss=1)}"
    study.plan(command, assignment={"from_step": 2, "attrs": {"parent": 7, "parent_step": 2}})
    study.run()
    outcome, reason = study.end()
    assert outcome == "fail"
    assert reason.startswith("it goes on from trial 7 at step 2, and there is no checkpoint to begin with: ")
    assert not (study.root / "begun").exists()


@pytest.mark.parametrize("name", ["step-8", "step_8.pt"])
def test_an_own_file_that_is_in_the_way_of_the_copy_stays(study: Study, name: str) -> None:
    save(study, name)
    directory = study.trial(1).checkpoints
    directory.mkdir(parents=True)
    own = directory / name
    if own.suffix:
        own.write_bytes(b"notes")
    else:
        own.mkdir()
        (own / "notes").touch()
    before = sorted(path.relative_to(directory) for path in directory.rglob("*"))
    with pytest.raises(OSError, match=r"exists|not empty"):
        take_over(study.layout, child(name), 0)
    assert sorted(path.relative_to(directory) for path in directory.rglob("*")) == before
    assert not own.suffix or own.read_bytes() == b"notes"


def test_a_copy_that_another_process_has_made_is_used(study: Study) -> None:
    origin = save(study, "step_8.pt")
    directory = study.trial(1).checkpoints
    directory.mkdir(parents=True)
    (directory / "step_8.pt").write_bytes(origin.read_bytes())  # its mark comes a moment later
    assert take_over(study.layout, child("step_8.pt"), 0) == directory / "step_8.pt"
    assert sorted(path.name for path in directory.iterdir()) == ["step_8.pt", "step_8.pt.COMPLETE"]


def test_a_pipe_in_a_checkpoint_is_no_file_to_wait_for(study: Study) -> None:
    os.mkfifo(save(study, "step-8") / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        take_over(study.layout, child("step-8"), 0)
    assert list(study.trial(1).checkpoints.iterdir()) == []
