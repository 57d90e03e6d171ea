"""Publishing at the end of a step: after any failure the chain goes on, checkpoints are deleted, nothing is lost."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from hposlurm.backend.slurm import SlurmBackend
from hposlurm.errors import StudyError
from hposlurm.planner import advance, create, drive, retention, set_going
from hposlurm.publish import Cursor, Published
from hposlurm.records import files, publications
from hposlurm.records.history import read_history
from hposlurm.records.layout import StudyLayout
from hposlurm.records.publications import publishing_failures
from hposlurm.spec.fields import Section, Text
from hposlurm.spec.publishing import PUBLISHERS, PublisherKind
from hposlurm.trial import JobState
from tests.fake_slurm import FakeSlurm
from tests.planner.fake import FakeCluster, launched, spec

TRIAL = {"command": "train --x {{ x }}", "workdir": "/", "keep_checkpoints": 1}


class Disk:
    """The disk under study.db and the records of publishing; it is full while `is_full`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_full = False
        self.has_no_room_for_notes = False
        self._publish = files.publish
        for module in (files, publications):
            monkeypatch.setattr(module, "publish", self._write)

    def _write(self, path: Path, *arguments: Any, **named: Any) -> None:
        is_note = self.has_no_room_for_notes and path.parent.name == "publish"
        if is_note or (self.is_full and path.name in ("study.db", "results.csv")):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        self._publish(path, *arguments, **named)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


class ToyOptions(Section):
    inbox: Text


class Toy:
    """An outside service: a file with everything that was sent. It fails while a file `down` is beside it."""

    def __init__(self, options: ToyOptions) -> None:
        self._inbox = Path(options.inbox)

    def publish(self, study: Published, cursor: Cursor, /) -> None:
        if self._inbox.with_name("down").exists():
            raise RuntimeError("503\nservice unavailable")
        for news in cursor.news(study.history):
            with self._inbox.open("a") as file:
                file.write(f"{news.trial.number} {news.trial.state} {len(news.reports)}\n")
            if self._inbox.with_name("breaks").exists():
                raise RuntimeError("connection reset")


@pytest.fixture
def inbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    row = PublisherKind("tests.planner.test_publishing:Toy", is_local=False, options=ToyOptions)
    monkeypatch.setitem(PUBLISHERS, "toy", row)
    return tmp_path / "inbox"


def toy_spec(inbox: Path, **changes: Any) -> Any:
    return spec(publish=["csv", {"toy": {"inbox": str(inbox)}}], **changes)


def received(inbox: Path) -> list[str]:
    """Returns what was sent since the last call."""
    lines = inbox.read_text().splitlines() if inbox.exists() else []
    inbox.unlink(missing_ok=True)
    return lines


def checkpoints(layout: StudyLayout) -> int:
    for number in range(4):
        path = layout.trial(number).checkpoints / "checkpoint-1"
        path.mkdir(parents=True, exist_ok=True)
        (path / "COMPLETE").touch()
    return left(layout)


def left(layout: StudyLayout) -> int:
    return len(list(layout.trials.glob("*/checkpoints/*")))


def test_a_full_disk_still_cancels_planners_and_deletes_checkpoints(layout: StudyLayout, disk: Disk) -> None:
    cluster, study = launched(layout, trial=TRIAL)
    cluster.run()
    assert checkpoints(layout) == 4
    disk.is_full = True
    step = advance(layout, study, cluster)
    assert step.kind == "submitted" and len(step.unpublished) == 2
    assert step.unpublished[0].startswith("sqlite: not published: [Errno 28] No space left on device")
    assert cluster.planners["900"]["state"] is JobState.CANCELLED and left(layout) == 1
    with pytest.raises(StudyError, match=r"sqlite: .*; csv: "):
        step.check_published()
    assert set(publishing_failures(layout)) == {"sqlite", "csv"}
    disk.is_full = False
    assert advance(layout, study, cluster).unpublished == ()
    assert layout.database.exists() and publishing_failures(layout) == {} and not layout.publications()


def test_a_full_disk_at_the_end_of_a_study_still_deletes_checkpoints(layout: StudyLayout, disk: Disk) -> None:
    cluster, study = launched(layout, trial=TRIAL, budget={"n_trials": 4})
    cluster.run()
    checkpoints(layout)
    disk.is_full = disk.has_no_room_for_notes = True
    step = advance(layout, study, cluster)
    assert step.kind == "finished" and step.unpublished and left(layout) == 1
    assert publishing_failures(layout) == {}


def test_files_are_written_again_once_deletion_made_room(
    layout: StudyLayout, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, study = launched(layout, trial=TRIAL)
    cluster.run()
    checkpoints(layout)
    disk.is_full = True
    remove = retention.remove

    def make_room(removal: retention.Removal) -> list[OSError]:
        disk.is_full = False
        return remove(removal)

    monkeypatch.setattr(retention, "remove", make_room)
    assert advance(layout, study, cluster).unpublished == ()
    assert "COMPLETE" in layout.results.read_text() and not layout.publications()


def test_a_chain_is_laid_although_nothing_can_be_published(
    layout: StudyLayout, disk: Disk, fake_slurm: FakeSlurm
) -> None:
    study = spec(slurm={"driver": "chain"}, waves={"size": 4})
    create(layout, study)
    disk.is_full = True
    step = set_going(layout, study, SlurmBackend())
    assert step.kind == "submitted" and len(step.unpublished) == 2
    assert len(fake_slurm.arrays()) == len(fake_slurm.planners()) == 3 + 3  # three waves of four, and the spare pairs


def test_a_study_in_the_foreground_survives_a_full_disk(
    layout: StudyLayout, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    cluster, study = FakeCluster(), spec(slurm={"driver": "foreground"}, budget={"n_trials": 8})
    create(layout, study)
    disk.is_full = True
    monkeypatch.setattr(cluster, "wait", lambda _arrays: cluster.run())
    step = drive(layout, study, cluster, log=lines.append)
    assert (step.kind, len(step.unpublished)) == ("finished", 2)
    assert [line.split(":")[:2] for line in lines] == [["note", " sqlite"], ["note", " csv"]] * 2  # once per wave


def test_an_outside_service_receives_only_what_is_new(layout: StudyLayout, inbox: Path) -> None:
    cluster, study = FakeCluster(), toy_spec(inbox)
    create(layout, study)
    advance(layout, study, cluster)
    assert received(inbox) == [f"{n} WAITING 0" for n in range(4)]
    advance(layout, study, cluster)
    assert received(inbox) == []
    cluster.run()
    advance(layout, study, cluster)
    assert received(inbox)[:4] == [f"{n} COMPLETE 1" for n in range(4)]
    layout.publication("toy").unlink()
    advance(layout, study, cluster)
    assert len(received(inbox)) == 8  # a lost cursor: everything again


@pytest.mark.parametrize("damage", ["", "{", '{"sent": 3}', '{"target": "", "sent": {"0": {"digest": 1}}}'])
def test_a_damaged_cursor_is_a_lost_one(layout: StudyLayout, inbox: Path, damage: str) -> None:
    cluster, study = FakeCluster(), toy_spec(inbox)
    create(layout, study)
    advance(layout, study, cluster)
    received(inbox)
    layout.publication("toy").write_text(damage)
    advance(layout, study, cluster)
    assert len(received(inbox)) == 4


def test_other_options_mean_a_new_destination_that_gets_everything(layout: StudyLayout, inbox: Path) -> None:
    cluster, study = FakeCluster(), toy_spec(inbox)
    create(layout, study)
    advance(layout, study, cluster)
    other = inbox.with_name("other")
    advance(layout, toy_spec(other), cluster)
    assert len(received(other)) == 4


def test_a_failing_service_is_a_note_and_is_caught_up_by_the_next_step(layout: StudyLayout, inbox: Path) -> None:
    cluster, study = FakeCluster(), toy_spec(inbox, trial=TRIAL)
    create(layout, study)
    inbox.with_name("down").touch()
    assert advance(layout, study, cluster).unpublished == ()  # of files only
    assert publishing_failures(layout) == {"toy": "503 service unavailable"}
    cluster.run()
    checkpoints(layout)
    assert advance(layout, study, cluster).kind == "submitted"
    assert "COMPLETE" in layout.results.read_text() and left(layout) == 1
    inbox.with_name("down").unlink()
    assert advance(layout, study, cluster).kind == "waiting"
    assert publishing_failures(layout) == {} and len(received(inbox)) == 8


def test_records_sent_before_a_failure_are_not_sent_again(layout: StudyLayout, inbox: Path) -> None:
    cluster, study = FakeCluster(), toy_spec(inbox)
    create(layout, study)
    advance(layout, study, cluster)
    cluster.run()
    received(inbox)
    inbox.with_name("breaks").touch()
    advance(layout, study, cluster)
    assert received(inbox) == ["0 COMPLETE 1"]
    inbox.with_name("breaks").unlink()
    advance(layout, study, cluster)
    # the one at which it broke may have arrived or not: it comes a second time, and all others once
    assert [line.split()[0] for line in received(inbox)] == list("01234567")


def test_a_publisher_that_cannot_be_imported_is_a_note(
    layout: StudyLayout, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = PublisherKind("tests.planner.not_installed:Toy", is_local=False, options=ToyOptions)
    monkeypatch.setitem(PUBLISHERS, "toy", row)
    study = toy_spec(inbox)
    create(layout, study)
    assert advance(layout, study, FakeCluster()).kind == "submitted"
    assert publishing_failures(layout) == {"toy": "No module named 'tests.planner.not_installed'"}


def test_the_record_of_a_publisher_that_the_study_no_longer_names_is_forgotten(
    layout: StudyLayout, inbox: Path
) -> None:
    cluster, study = FakeCluster(), toy_spec(inbox)
    create(layout, study)
    inbox.with_name("down").touch()
    advance(layout, study, cluster)
    advance(layout, spec(), cluster)
    assert publishing_failures(layout) == {}


def test_a_simulated_study_is_sent_nowhere(layout: StudyLayout, inbox: Path) -> None:
    from hposlurm.publish import publish_files, publish_outside

    cluster, study = FakeCluster(), toy_spec(inbox)
    create(layout, study)
    advance(layout, study, cluster)
    received(inbox)
    layout.publication("toy").unlink()
    layout.simulated.write_text("{}")
    found = Published(layout, study, read_history(layout))
    assert publish_files(found) == publish_outside(found) == () and received(inbox) == []


def test_a_cancelled_study_is_published_as_well(layout: StudyLayout, inbox: Path) -> None:
    cluster, study = FakeCluster(), toy_spec(inbox)
    create(layout, study)
    advance(layout, study, cluster)
    received(inbox)
    cluster.run()
    layout.stop.touch()
    assert advance(layout, study, cluster).kind == "stopped"
    assert received(inbox) == [f"{n} COMPLETE 1" for n in range(4)]
    assert "COMPLETE" in layout.results.read_text()
