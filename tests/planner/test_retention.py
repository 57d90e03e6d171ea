"""Deletion of checkpoints: which are deleted, and that no needed one is."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from hposlurm.decisions.cost import disk_gb
from hposlurm.planner import advance, create, retention
from hposlurm.planner.removable import Left, Removal, removable, remove
from hposlurm.records import trees
from hposlurm.records.assignment import Assignment
from hposlurm.records.history import read_history
from hposlurm.records.layout import StudyLayout
from hposlurm.trial import Objective, TrialState
from tests.planner.fake import FakeCluster, new_layout, spec, states
from tests.studies import add_wave, assignment, completed, failed, make_study, start, write_journal

OBJECTIVES = (Objective("eval_loss"),)


@pytest.fixture
def study(tmp_path: Path) -> StudyLayout:
    """Trials 0 to 2 are complete with losses 3, 1, 2; 3 failed, 4 failed with a retry left, 5 runs, 6 never started."""
    layout = make_study(tmp_path / "runs")
    add_wave(layout, range(7), retries=1)
    for number, loss in enumerate((3.0, 1.0, 2.0)):
        write_journal(layout, number, completed(number, loss))
    for attempt in (0, 1):
        write_journal(layout, 3, failed(3, attempt), attempt)
    write_journal(layout, 4, failed(4))
    write_journal(layout, 5, [start(5)])
    for number in range(6):
        save(layout, number, 8)
    return layout


def save(layout: StudyLayout, trial: int, step: int, size: int = 100_000) -> Path:
    path = layout.trial(trial).checkpoints / f"checkpoint-{step}"
    (path / "shards").mkdir(parents=True)
    (path / "shards" / "0.pt").write_bytes(b"x" * size)
    (path / "COMPLETE").touch()
    return path


def left(layout: StudyLayout) -> dict[int, list[str]]:
    found = {n: sorted(p.name for p in layout.trial(n).checkpoints.glob("*")) for n in range(12)}
    return {number: names for number, names in found.items() if names}


def removals(layout: StudyLayout, keep: int, *, with_paused: bool = False) -> list[Removal]:
    history = read_history(layout)
    unneeded = retention.no_longer_needed(history, OBJECTIVES, keep, with_paused=with_paused)
    return removable(layout, history.trials, unneeded)[0]


def collect(layout: StudyLayout, keep: int) -> list[Removal]:
    found = removals(layout, keep)
    assert [error for removal in found for error in remove(removal)] == []
    return found


@pytest.mark.parametrize(("keep", "kept"), [(0, {4, 5}), (1, {1, 4, 5}), (2, {1, 2, 4, 5}), (9, {0, 1, 2, 4, 5})])
def test_the_best_and_the_unfinished_keep_their_checkpoints(study: StudyLayout, keep: int, kept: set[int]) -> None:
    collect(study, keep)
    assert left(study).keys() == kept


def test_the_freed_size_is_the_used_size(study: StudyLayout) -> None:
    found = collect(study, keep=1)
    assert [removal.trial for removal in found] == [0, 2, 3]
    assert all(100_000 <= removal.size < 120_000 for removal in found)
    assert collect(study, keep=1) == []


def test_checkpoints_that_were_moved_aside_are_deleted_in_every_trial(study: StudyLayout) -> None:
    for number in (1, 4):
        save(study, number, 9).rename(study.trial(number).checkpoints / "partial-checkpoint-9-1")
    collect(study, keep=1)
    assert left(study) == {number: ["checkpoint-8"] for number in (1, 4, 5)}


def test_a_checkpoint_from_which_a_planned_assignment_begins_stays(study: StudyLayout) -> None:
    child = Assignment(**{**_fields(assignment(7)), "resume_from": "trials/00000/checkpoints/checkpoint-8"})
    add_wave(study, [child])
    collect(study, keep=1)
    assert 0 in left(study)


def test_a_checkpoint_that_a_copy_has_not_started_from_yet_is_needed(study: StudyLayout) -> None:
    child = Assignment(**{**_fields(assignment(7)), "resume_from": "trials/00000/checkpoints/checkpoint-8"})
    add_wave(study, [child])
    add_wave(study, [8])
    collect(study, keep=1)
    assert 0 in left(study)
    write_journal(study, 7, completed(7, 4.0, wave=1))
    collect(study, keep=1)
    assert 0 not in left(study)


def _fields(one: Assignment) -> dict:
    return {name: getattr(one, name) for name in Assignment.__dataclass_fields__}


@pytest.mark.parametrize("with_paused", [False, True])
def test_a_waiting_trial_keeps_its_checkpoint_until_the_study_is_over(tmp_path: Path, with_paused: bool) -> None:
    layout = make_study(tmp_path / "runs")
    add_wave(layout, [replace(assignment(n), to_step=1, is_final=False) for n in range(3)])
    for number in range(3):
        write_journal(layout, number, completed(number, float(number)))
        save(layout, number, 1)
    add_wave(layout, [replace(assignment(0), stage=1, from_step=1, to_step=3)])
    write_journal(layout, 0, [{**completed(0, 0.5, 1, 1)[0], "stage": 1}, *completed(0, 0.5, 1, 1)[1:]], 1)

    def collected() -> set[int]:
        return {removal.trial for removal in removals(layout, 1, with_paused=with_paused)}

    assert states(layout) == [TrialState.COMPLETE, *[TrialState.PAUSED] * 2]
    assert collected() == set()
    add_wave(layout, [], finished="paused: 3 trials failed, budget.max_failures is 3", paused=True)
    assert collected() == set()
    add_wave(layout, [], finished="3 of 3 trials are done")
    assert collected() == ({1, 2} if with_paused else set())


def test_single_files_go_with_their_marks_and_links_are_not_followed(study: StudyLayout, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("precious", "COMPLETE"):
        (elsewhere / name).touch()
    directory = study.trial(0).checkpoints
    (directory / "step_9.pt").touch()
    (directory / "step_9.pt.COMPLETE").touch()
    (directory / "link").symlink_to(elsewhere)
    collect(study, keep=1)
    assert left(study)[0] == ["link"]
    assert sorted(path.name for path in elsewhere.iterdir()) == ["COMPLETE", "precious"]


def test_what_is_neither_marked_nor_reported_stays_and_is_named(study: StudyLayout) -> None:
    directory = study.trial(0).checkpoints
    for name in ("notes.txt", "told-3", "half", ".copy-x-1-0", "partial-y-0"):
        (directory / name).mkdir()
    write_journal(study, 0, [{"kind": "checkpoint", "t": 1.0, "step": 3, "path": f"/elsewhere/{directory}/told-3"}])
    history = read_history(study)
    found, others = removable(study, history.trials, {0})
    assert sorted(path.name for path in found[0].paths) == [".copy-x-1-0", "checkpoint-8", "partial-y-0", "told-3"]
    assert others == [
        Left((directory / "half", directory / "notes.txt"), "neither marked nor reported as a checkpoint")
    ]


def linked(study: StudyLayout, trial: int, target: Path) -> Path:
    """Makes the checkpoint directory a link, as `rmdir $HPOSLURM_CHECKPOINT_DIR; ln -s …` does, and returns its end."""
    directory = study.trial(trial).checkpoints
    target.parent.mkdir(parents=True, exist_ok=True)
    directory.rename(target) if not target.exists() else shutil.rmtree(directory)
    directory.symlink_to(target)
    return target


def test_of_a_linked_directory_only_marked_checkpoints_go(study: StudyLayout, tmp_path: Path) -> None:
    disk = linked(study, 0, tmp_path / "disk" / "a")
    for name in ("notes.txt", "partial-x-0", "step-3"):
        (disk / name).mkdir()
    found = collect(study, keep=1)
    assert [path.name for removal in found if removal.trial == 0 for path in removal.paths] == ["checkpoint-8"]
    assert sorted(path.name for path in disk.iterdir()) == ["notes.txt", "partial-x-0", "step-3"]


@pytest.mark.parametrize("other", ["another trial", "another study", "inside of a marked directory", "the study"])
def test_of_a_linked_directory_that_others_use_nothing_goes(study: StudyLayout, tmp_path: Path, other: str) -> None:
    disk = linked(study, 0, tmp_path / "disk" / "a")
    match other:
        case "another trial":  # all trials link to one directory
            linked(study, 1, disk)
        case "another study":
            (disk.parent / "trial.json").touch()
        case "inside of a marked directory":
            linked(study, 1, disk / "checkpoint-8" / "inner")
        case _:
            study.trial(0).checkpoints.unlink()
            study.trial(0).checkpoints.symlink_to(study.root.parent)
            (study.root / "COMPLETE").touch()
    before = sorted(study.root.rglob("*")), sorted(disk.rglob("*"))
    unneeded = retention.no_longer_needed(read_history(study), OBJECTIVES, 1)
    found, others = removable(study, read_history(study).trials, unneeded & {0})
    assert found == []
    assert any("another trial or study uses" in group.why for group in others)
    assert (sorted(study.root.rglob("*")), sorted(disk.rglob("*"))) == before


def test_a_trial_that_became_a_link_is_skipped_and_named(study: StudyLayout, tmp_path: Path) -> None:
    study.trial(0).root.rename(tmp_path / "moved")
    study.trial(0).root.symlink_to(tmp_path / "moved")
    _, others = removable(study, read_history(study).trials, {0})
    assert others == [Left((study.trial(0).root,), "it is a link")]
    assert (tmp_path / "moved" / "checkpoints" / "checkpoint-8").exists()


def test_what_others_own_in_a_linked_directory_stays(
    study: StudyLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    linked(study, 0, tmp_path / "disk" / "a")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    found, others = removable(study, read_history(study).trials, {0})
    assert (found, [group.why for group in others]) == ([], ["belongs to another user"])


def test_a_checkpoint_that_cannot_be_deleted_is_logged_and_no_longer_counts_as_complete(
    study: StudyLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_parent: int, _name: str, shown: Path) -> list[OSError]:
        return [PermissionError(13, "Permission denied", str(shown))]

    monkeypatch.setattr(trees, "remove", refuse)
    (removal, *_) = removals(study, 1)
    assert len(remove(removal)) == 1
    assert not list(study.trial(0).checkpoints.glob("*/COMPLETE"))


@pytest.mark.parametrize(("keep", "kept"), [(None, 12), (2, 2)])
def test_the_planner_deletes_only_if_the_study_asks_for_it(tmp_path: Path, keep: int | None, kept: int) -> None:
    layout, cluster = new_layout(tmp_path), FakeCluster()
    study = spec(trial={"command": "train --x {{ x }}", "workdir": "/", "keep_checkpoints": keep})
    create(layout, study)
    while advance(layout, study, cluster).kind == "submitted":
        cluster.run()
        for number in range(12):
            if layout.trial(number).attempts() and not layout.trial(number).checkpoints.exists():
                save(layout, number, 8, size=10)
    assert len(left(layout)) == kept
    best = min(read_history(layout).trials, key=lambda trial: trial.values or (9.9,))
    assert best.number in left(layout)


def test_disk_use_is_bounded_by_the_trials_or_by_the_kept_checkpoints() -> None:
    def estimate(wave: int = 4, budget: dict | None = None, more: dict | None = None, **trial: object) -> float | None:
        command = {"command": "train --x {{ x }}", **trial}
        return disk_gb(spec(trial=command, budget=budget or {"n_trials": 12}, **(more or {})), wave)

    assert estimate() is None
    assert estimate(checkpoint_gb=2.5) == 30
    assert estimate(checkpoint_gb=2.5, keep_checkpoints=1) == 12.5
    assert estimate(checkpoint_gb=2.5, keep_checkpoints=100) == 30
    assert estimate(checkpoint_gb=2.5, budget={"wall_time": "1:00:00"}) is None
    assert estimate(checkpoint_gb=2.5, budget={"wall_time": "1:00:00"}, keep_checkpoints=1) == 12.5
    # an array of refill mode has all trials, up to 1000, and is tidied when it has ended
    refill, kept = {"waves": {"mode": "refill", "max_concurrent": 4}}, {"checkpoint_gb": 2.5, "keep_checkpoints": 1}
    assert estimate(**kept, more=refill) == 30
    assert estimate(**kept, budget={"n_trials": 5000}, more=refill) == 2502.5
    assert estimate(**kept, budget={"wall_time": "1:00:00"}, more=refill) == 2502.5
    # trials that wait at a rung keep theirs: with promotion nearly all do, with halving the losers end with their wave
    rungs = {"max_resource": 9}
    promotion, auto = {"search": {"algorithm": "asha", **rungs}}, {"search": {"algorithm": "auto", **rungs}}
    halving = {"search": {"algorithm": "successive_halving", **rungs}, "waves": {"mode": "barrier"}}
    assert estimate(checkpoint_gb=2.5, keep_checkpoints=1, more=promotion) == 30
    assert estimate(checkpoint_gb=2.5, keep_checkpoints=1, more=auto) == 30
    assert estimate(checkpoint_gb=2.5, keep_checkpoints=1, more=halving) == 12.5
    assert estimate(checkpoint_gb=2.5, keep_checkpoints=1, more={"search": {"algorithm": "auto"}}) == 12.5
