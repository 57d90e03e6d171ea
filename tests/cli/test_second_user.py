"""Two users and one directory for the studies of all: nobody runs, cancels or changes anything of the other."""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hposlurm import Study, backend
from hposlurm.planner import create
from hposlurm.records.layout import StudyLayout
from hposlurm.records.plan import WavePlan, record_plan
from hposlurm.refill.__main__ import main as refill
from hposlurm.worker.__main__ import main as worker
from tests.cli.attack import everything, hposlurm
from tests.planner.fake import FakeCluster
from tests.studies import assignment
from tests.users import ALICE, MALLORY, as_user, needs_users, shared

__all__ = ["shared"]

pytestmark = needs_users
FILE = """\
name: thesis
backend: slurm
objectives: [{name: eval_loss}]
parameters: {lr: {type: float, min: 0.001, max: 0.1}}
budget: {n_trials: 1}
search: {algorithm: random, seed: 1}
trial: {command: "true {{ lr }}"}
"""


LATE = [f"hposlurm.report.{name}" for name in ("explain", "export", "overview_text", "progress_text", "tables_text")]


class Cluster(FakeCluster):
    name = "slurm"


@pytest.fixture
def alice(shared: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Alice's home, with her study file; the directory of studies is everybody's."""
    home = shared / "alice"
    home.mkdir(mode=0o755)
    os.chown(home, ALICE, ALICE)
    (home / "thesis.yaml").write_text(FILE)
    (shared / "runs").mkdir()
    (shared / "runs").chmod(0o1777)
    monkeypatch.setenv("HPOSLURM_RUNS", str(shared / "runs"))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(home)
    for place in (backend, backend.base):
        monkeypatch.setattr(place, "choose", lambda *_, **__: Cluster())
    for name in LATE:  # another user may not read the interpreter that root has at home
        importlib.import_module(name)
    return home


def runs(alice: Path) -> Path:
    return alice.parent / "runs"


@pytest.fixture
def trap(alice: Path) -> StudyLayout:
    """The study that Alice is going to launch, made by Mallory: its spec is hers, its first wave his."""
    layout = StudyLayout(runs(alice) / "thesis")

    def set_it() -> None:
        study = Study.create("thesis.yaml")
        create(study.layout, study.spec)
        mine = replace(assignment(0), command=f"touch {alice.parent / 'pwned'}")
        plan = WavePlan(0, "thesis", 0.0, "study.yaml", 0, ("eval_loss",), "/", assignments=(mine,))
        record_plan(layout.wave(0), plan)
        for folder in (layout.root, layout.root / "waves", layout.wave(0).root):
            folder.chmod(0o755)
        for file in (layout.spec(), layout.wave(0).plan):
            file.chmod(0o644)

    as_user(MALLORY, set_it)
    return layout


ACTING = [("launch", "thesis.yaml"), *((verb, "thesis") for verb in ("advance", "resume", "cancel", "gc", "rebuild"))]
READING = [
    ("status", "thesis"), ("list",), ("collect", "thesis"), ("best", "thesis"), ("explain", "thesis"),
    ("logs", "thesis", "0"),
]  # fmt: skip


@pytest.mark.parametrize("words", ACTING, ids=" ".join)
def test_no_verb_acts_on_a_study_of_another_user(alice: Path, trap: StudyLayout, words: tuple[str, ...]) -> None:
    before = everything(runs(alice))
    status, _, err = as_user(ALICE, lambda: hposlurm(*words))
    assert status == 2
    assert f"{trap.root} belongs to user {MALLORY}, and you are user {ALICE}" in err
    assert everything(runs(alice)) == before
    assert not (alice.parent / "pwned").exists()


@pytest.mark.usefixtures("trap")
@pytest.mark.parametrize("words", READING, ids=" ".join)
def test_every_reading_verb_reads_it_and_runs_nothing(alice: Path, words: tuple[str, ...]) -> None:
    before = everything(runs(alice))
    status, out, err = as_user(ALICE, lambda: hposlurm(*words))
    assert status in (0, 1), err
    assert "belongs to" not in err
    assert words[0] not in ("list", "status") or "thesis" in out
    assert everything(runs(alice)) == before
    assert not (alice.parent / "pwned").exists()


def test_no_process_of_a_job_runs_it(alice: Path, trap: StudyLayout, capfd: pytest.CaptureFixture[str]) -> None:
    for main in (worker, refill):
        assert as_user(ALICE, lambda main=main: main([str(trap.root), "0", "0"])) in (1, 2)
    assert capfd.readouterr().err.count(f"belongs to user {MALLORY}") == 2
    assert not (alice.parent / "pwned").exists()


def test_a_study_of_ones_own_runs_in_a_directory_for_all(alice: Path) -> None:
    _, out, err = as_user(ALICE, lambda: hposlurm("launch", "thesis.yaml"))
    assert "note:" not in err
    assert "directory: " in out, err
    assert (runs(alice) / "thesis").stat().st_mode & 0o777 == 0o700


def test_a_study_that_was_exchanged_between_two_steps_is_refused(alice: Path) -> None:
    """The directory of studies belongs to a group, whose members can rename what is in it."""
    place = runs(alice)
    os.chown(place, ALICE, MALLORY)
    place.chmod(0o770)
    alice.parent.chmod(0o755)
    status, _, err = as_user(ALICE, lambda: hposlurm("launch", "thesis.yaml"))
    assert (
        f"note: every member of the group {MALLORY} can rename or replace what is in {place}; chmod g-w {place}" in err
    )

    def exchange() -> None:
        (place / "thesis").rename(place / "old")
        (place / "thesis").mkdir()
        (place / "thesis" / "study.yaml").write_text("name: thesis")

    as_user(MALLORY, exchange)
    for verb in ("resume", "cancel", "gc"):
        status, _, err = as_user(ALICE, lambda verb=verb: hposlurm(verb, "thesis"))
        assert (status, f"belongs to user {MALLORY}" in err) == (2, True)


def test_without_rights_on_the_study_there_is_a_sentence(trap: StudyLayout) -> None:
    trap.root.chmod(0o700)
    for words in (*ACTING, *READING):
        status, _, err = as_user(ALICE, lambda words=words: hposlurm(*words))
        assert status != 70, err
    shutil.rmtree(trap.root)
