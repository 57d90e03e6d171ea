"""The study's directory appears whole, whoever else writes it, and whatever died there before."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from hposlurm.errors import RequestError, StudyError
from hposlurm.planner import advance, cancel, create
from hposlurm.planner import study as module
from hposlurm.records.find import only_study
from hposlurm.records.layout import StudyLayout
from hposlurm.spec import load
from hposlurm.trial import JobState
from tests.planner.fake import FakeCluster, Killed, launched, spec

DEEPSPEED = {"trial": {"command": "x {{ x }}", "workdir": "/", "seed": "trial", "deepspeed": {"zero_stage": 2}}}


def test_several_launches_at_once_make_one_study(layout):
    together = threading.Barrier(8)

    def launch(_: int) -> bool:
        together.wait()
        return create(layout, spec(**DEEPSPEED))

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(launch, range(8)))
    assert sorted(found) == [False] * 7 + [True]
    assert [path.name for path in layout.root.parent.iterdir()] == [layout.root.name]
    assert layout.root.stat().st_mode & 0o777 == 0o700


def test_of_two_different_studies_at_once_one_is_refused_in_words(layout, monkeypatch):
    fill = module._fill

    def other_first(new: StudyLayout, *arguments: object) -> None:
        monkeypatch.setattr(module, "_fill", fill)
        assert create(layout, spec(budget={"n_trials": 5}))
        fill(new, *arguments)

    monkeypatch.setattr(module, "_fill", other_first)
    with pytest.raises(RequestError, match="holds a study with another spec"):
        create(layout, spec())
    assert load(layout.spec(), frozen=True).budget.n_trials == 5
    assert [path.name for path in layout.root.parent.iterdir()] == [layout.root.name]


def test_a_launch_killed_before_the_study_was_whole_is_no_study(layout, monkeypatch):
    def die(name: str) -> None:
        if name == "study filled":
            raise Killed

    monkeypatch.setattr(module, "fail_point", die)
    monkeypatch.setattr(module, "remove_tree", lambda *_, **__: None)  # SIGKILL tidies nothing up
    with pytest.raises(Killed):
        create(layout, spec(**DEEPSPEED))
    monkeypatch.undo()
    assert not layout.root.exists()
    assert create(layout, spec(**DEEPSPEED))
    assert only_study(layout.root.parent) == layout


@pytest.mark.parametrize("left", [(), ("ds_config.json",), ("ds_config.json", "warm_start.json")])
def test_what_an_older_launch_left_without_a_spec_is_taken_over(layout, left):
    layout.root.mkdir(parents=True)
    for name in left:
        (layout.root / name).write_text("of the older launch")
    assert create(layout, spec())
    assert [path.name for path in layout.root.iterdir()] == ["study.yaml"]


@pytest.mark.parametrize("name", ["notes.txt", "ds_config.json.bak"])
def test_a_directory_with_anything_else_in_it_is_not_touched(layout, name):
    layout.root.mkdir(parents=True)
    (layout.root / "ds_config.json").write_text("mine")
    (layout.root / name).write_text("mine")
    with pytest.raises(RequestError, match="exists and is not a study"):
        create(layout, spec())
    assert {path.read_text() for path in layout.root.iterdir()} == {"mine"}


def test_a_deleted_study_is_not_begun_again(layout):
    cluster, study = launched(layout)
    layout.root.rename(layout.root.with_name("elsewhere"))
    with pytest.raises(StudyError, match=r"runs/fake is gone: something has deleted or moved it"):
        advance(layout, study, cluster)
    assert not layout.root.exists()


def test_cancel_leaves_no_array_of_a_launch_that_died_while_it_submitted(layout):
    cluster, study = FakeCluster(), spec()
    create(layout, study)
    cluster.die_after = "submit"
    with pytest.raises(Killed):
        advance(layout, study, cluster)
    assert cluster.arrays["100"]["state"] is JobState.PENDING
    cancel(layout, cluster)
    assert cluster.arrays["100"]["state"] is JobState.CANCELLED
