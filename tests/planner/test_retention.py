"""Deletion of checkpoints: which are deleted, and that no needed one is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hposlurm.decisions.cost import disk_gb
from hposlurm.planner import advance, create, retention
from hposlurm.records.assignment import Assignment
from hposlurm.records.history import read_history
from hposlurm.records.layout import StudyLayout
from hposlurm.trial import Objective, TrialState
from tests.planner.fake import FakeCluster, new_layout, spec
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


def collect(layout: StudyLayout, keep: int) -> list[retention.Removal]:
    found = retention.removals(layout, read_history(layout), OBJECTIVES, keep)
    assert [error for removal in found for error in retention.remove(removal)] == []
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
        history = read_history(layout)
        found = retention.removals(layout, history, OBJECTIVES, 1, with_paused=with_paused)
        return {removal.trial for removal in found}

    assert [t.state for t in read_history(layout).trials] == [TrialState.COMPLETE, *[TrialState.PAUSED] * 2]
    assert collected() == set()
    add_wave(layout, [], finished="3 of 3 trials are done")
    assert collected() == ({1, 2} if with_paused else set())


def test_single_files_go_with_their_marks_and_links_are_not_followed(study: StudyLayout, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").touch()
    directory = study.trial(0).checkpoints
    (directory / "step_9.pt").touch()
    (directory / "step_9.pt.COMPLETE").touch()
    (directory / "link").symlink_to(elsewhere)
    collect(study, keep=1)
    assert 0 not in left(study)
    assert (elsewhere / "precious").exists()


def test_a_checkpoint_that_cannot_be_deleted_is_logged_and_no_longer_counts_as_complete(
    study: StudyLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(retention.shutil, "rmtree", refuse)
    (removal, *_) = retention.removals(study, read_history(study), OBJECTIVES, 1)
    assert len(retention.remove(removal)) == 1
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
