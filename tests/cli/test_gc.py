"""gc, and the disk in check, through the real command line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hposlurm.records.layout import StudyLayout
from tests.cli.run import Run
from tests.studies import SPEC, study_of_completed


@pytest.fixture
def demo(runs: Path) -> StudyLayout:
    """Four complete trials with a checkpoint each; trial 0 is the best."""
    layout = study_of_completed(runs, 4)
    for number in range(4):
        path = layout.trial(number).checkpoints / "checkpoint-8"
        path.mkdir(parents=True)
        (path / "model.bin").write_bytes(b"x" * 200_000)
        (path / "COMPLETE").touch()
    return layout


def left(layout: StudyLayout) -> list[int]:
    return [n for n in range(4) if (layout.trial(n).checkpoints / "checkpoint-8").exists()]


def test_gc_deletes_all_but_the_best_and_says_how_much(demo: StudyLayout, run: Run) -> None:
    done = run("gc", "demo")
    assert done.status == 0
    assert "  trial 1: checkpoint-8 (20" in done.out
    assert done.out.splitlines()[-1].startswith("freed 6")
    assert done.out.endswith("kB of 3 trials; those of the best trial and of unfinished trials are kept\n")
    assert left(demo) == [0]
    assert run("gc", "demo").out.startswith("freed 0 B of 0 trials")


def test_gc_can_be_tried_out(demo: StudyLayout, run: Run) -> None:
    done = run("gc", "demo", "--dry-run")
    assert done.out.splitlines()[-1].startswith("would free 6")
    assert left(demo) == [0, 1, 2, 3]


def test_gc_names_what_it_leaves(demo: StudyLayout, run: Run, tmp_path: Path) -> None:
    directory = demo.trial(1).checkpoints
    for name in ("notes", "a\x1b[31mb"):
        (directory / name).touch()
    shutil.rmtree(demo.trial(2).checkpoints)
    demo.trial(2).checkpoints.symlink_to(tmp_path / "disk")
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "thesis.tex").touch()
    done = run("gc", "demo")
    assert f"  left: {directory} (ab, notes): neither marked nor reported as a checkpoint" in done.out.splitlines()
    assert f"  left: {demo.trial(2).checkpoints / 'thesis.tex'}: the checkpoint directory is a link" in done.out
    assert (tmp_path / "disk" / "thesis.tex").exists()
    assert sorted(path.name for path in directory.iterdir()) == ["a\x1b[31mb", "notes"]


def test_gc_keeps_as_many_as_it_is_told(demo: StudyLayout, run: Run) -> None:
    assert run("gc", "demo", "--keep", "-1").status == 2
    run("gc", "demo", "--keep", "3")
    assert len(left(demo)) == 3


def test_gc_keeps_as_many_as_the_study_says(demo: StudyLayout, run: Run) -> None:
    text = SPEC.format(name="demo", n_trials=4).rstrip() + "\n  keep_checkpoints: 0\n"
    demo.spec().write_text(text)
    run("gc", "demo")
    assert left(demo) == []


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ([], "disk: unknown; set trial.checkpoint_gb to the space that all checkpoints of one trial use"),
        (
            ["trial.checkpoint_gb=7"],
            "disk: at most 84 GB of checkpoints (7 GB a trial, all trials' checkpoints are kept)",
        ),
        (
            ["trial.checkpoint_gb=7", "trial.keep_checkpoints=1"],
            "disk: at most 84 GB of checkpoints (7 GB a trial, as trial.keep_checkpoints says)",
        ),
        (
            ["trial.checkpoint_gb=7", "trial.keep_checkpoints=1", "waves={mode: refill}"],
            "disk: at most 84 GB of checkpoints (7 GB a trial, as trial.keep_checkpoints says, once a wave of many has "
            "ended)",
        ),
    ],
)
def test_check_estimates_the_disk(runs: Path, run: Run, settings: list[str], line: str) -> None:
    file = runs / "demo.yaml"
    file.write_text(SPEC.format(name="demo", n_trials=12))
    words = [word for setting in settings for word in ("--set", setting)]
    done = run("check", str(file), "--backend", "local", *words)
    assert line in done.out.splitlines(), done
