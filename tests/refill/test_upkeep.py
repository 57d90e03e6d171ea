"""What is published and which checkpoints are left while a refill wave runs."""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from hposlurm.errors import StudyError
from hposlurm.records import files
from hposlurm.records.plan import read_plan, record_plan
from hposlurm.refill import upkeep
from hposlurm.refill.__main__ import main
from hposlurm.refill.upkeep import keep_up
from tests.planner import processes
from tests.refill.studies import Lab

TRIAL = {"command": "x {{ x }}", "keep_checkpoints": 1, "workdir": "/"}


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """Of the four that run at once two have ended, the worse one first."""
    lab = Lab(tmp_path, budget={"n_trials": 20}, trial=TRIAL)
    for element in range(4):
        lab.start(element)
    for element in range(3):
        checkpoint = lab.layout.trial(element).checkpoints / "checkpoint-1"
        checkpoint.mkdir(parents=True)
        (checkpoint / "COMPLETE").touch()
    lab.end(0, 2.0)
    lab.end(1, 1.0)
    return lab


def states(lab: Lab) -> list[str]:
    with closing(sqlite3.connect(lab.layout.database)) as connection:
        return [state for (state,) in connection.execute("SELECT state FROM results ORDER BY trial")]


def left(lab: Lab) -> list[int]:
    return [n for n in range(4) if list(lab.layout.trial(n).checkpoints.glob("checkpoint-1"))]


def propose(lab: Lab, *words: str, fail_point: str = "") -> int:
    """What a worker starts beside a trial, or waits for; its exit status."""
    arguments = [str(lab.layout.root), "0", *words]
    return processes.end(processes.begin(lambda: os._exit(main(arguments)), fail_point))


def long_ago(*paths: Path) -> None:
    for path in paths:
        os.utime(path, (path.stat().st_mtime - 1000, path.stat().st_mtime - 1000))


def test_whoever_proposes_more_goes_on_with_what_fell_behind(lab: Lab) -> None:
    wave = lab.layout.wave(0)
    assert propose(lab) == 0 and "COMPLETE" not in states(lab)  # the planner published a moment ago
    long_ago(wave.plan)
    assert propose(lab, "needed") == 0 and "COMPLETE" not in states(lab)  # somebody waits for it
    assert propose(lab) == 0
    assert states(lab)[:4] == ["COMPLETE", "COMPLETE", "RUNNING", "RUNNING"]
    assert "COMPLETE" in lab.layout.results.read_text()
    assert left(lab) == [1, 2]  # of the best and of the one that runs
    lab.end(2, 0.5)
    assert propose(lab) == 0 and states(lab)[2] == "RUNNING"  # that was done a moment ago
    long_ago(wave.upkeep)
    assert propose(lab) == 0 and states(lab)[2] == "COMPLETE" and left(lab) == [2]
    assert not list(wave.root.glob("*.lease")) and not list(lab.layout.root.rglob("*.tmp"))


def test_what_takes_long_is_done_less_often(lab: Lab) -> None:
    wave = lab.layout.wave(0)
    upkeep.note(wave, 100.0)
    long_ago(wave.upkeep)  # not as long ago as nineteen times these
    assert not upkeep.is_due(wave)
    upkeep.note(wave, 10.0)
    long_ago(wave.upkeep)
    assert upkeep.is_due(wave)


def test_one_at_a_time_is_at_it_until_it_counts_as_dead(lab: Lab) -> None:
    wave = lab.layout.wave(0)
    long_ago(wave.plan)
    assert [upkeep.is_due(wave), upkeep.is_due(wave)] == [True, False]
    long_ago(wave.upkeep_lease(0))
    assert [upkeep.is_due(wave), upkeep.is_due(wave)] == [True, False]
    upkeep.done(wave)
    assert upkeep.is_due(wave)


def test_killed_in_the_middle_it_is_done_by_the_next(lab: Lab) -> None:
    wave = lab.layout.wave(0)
    long_ago(wave.plan)
    assert propose(lab, fail_point="one published") == -signal.SIGKILL
    assert states(lab)[0] == "COMPLETE" and "COMPLETE" not in lab.layout.results.read_text()
    long_ago(wave.upkeep, wave.upkeep_lease(0))
    assert propose(lab) == 0
    assert "COMPLETE" in lab.layout.results.read_text() and left(lab) == [1, 2]


def test_what_cannot_be_written_keeps_nothing_from_being_proposed(lab: Lab) -> None:
    long_ago(lab.layout.wave(0).plan)
    lab.layout.database.unlink()
    (lab.layout.database / "in the way").mkdir(parents=True)
    assert propose(lab) == 1
    assert lab.assigned()[4:] and not list(lab.layout.wave(0).root.glob("*.lease"))


def test_ended_before_it_has_begun_it_lets_others_at_it(lab: Lab) -> None:
    """A worker whose trial ends while the interpreter still starts: the signal waits to be let through."""
    wave = lab.layout.wave(0)
    long_ago(wave.plan)

    def begin() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            main([str(lab.layout.root), "0"])
        except SystemExit as left:
            os._exit(int(left.code or 0))

    assert processes.end(processes.begin(begin)) == 1
    assert not list(wave.root.glob("*.lease")) and "COMPLETE" not in states(lab)


def test_what_was_cut_off_rests_as_long_as_after_the_last_that_was_not(lab: Lab) -> None:
    wave = lab.layout.wave(0)
    upkeep.note(wave, 100.0)
    lab.layout.stop.touch()
    assert not keep_up(lab.layout, 0)
    assert upkeep.seconds(wave) == 100.0


def test_a_full_disk_keeps_nothing_from_being_tidied(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    publish = files.publish

    def refuse(path: Path, data: bytes, mode: int = 0o600, **named: bool) -> None:
        if path == lab.layout.database:
            raise OSError(errno.ENOSPC, "No space left on device")
        publish(path, data, mode, **named)

    monkeypatch.setattr(files, "publish", refuse)
    with pytest.raises(StudyError, match=r"sqlite: not published: .*No space left"):
        keep_up(lab.layout, 0)
    assert "COMPLETE" in lab.layout.results.read_text() and left(lab) == [1, 2]


def test_a_study_file_with_another_objective_deletes_no_checkpoint(lab: Lab) -> None:
    file = lab.layout.spec()
    file.write_text(file.read_text().replace("name: loss", "name: other"))
    with pytest.raises(StudyError, match="other"):
        keep_up(lab.layout, 0)
    assert left(lab) == [0, 1, 2]


@pytest.mark.parametrize("what", ["cancelled", "planned behind"])
def test_once_a_planner_goes_on_nothing_is_published_any_more(lab: Lab, what: str) -> None:
    if what == "cancelled":
        lab.layout.stop.touch()
    else:
        following = replace(read_plan(lab.layout.wave(0)), wave=1, in_flight=(0,), assignments=(), elements=None)
        assert record_plan(lab.layout.wave(1), following)
    before = published(lab)
    assert not keep_up(lab.layout, 0)
    assert published(lab) == before and left(lab) == [0, 1, 2]


def published(lab: Lab) -> Sequence[bytes]:
    return [path.read_bytes() for path in (lab.layout.database, lab.layout.results, lab.layout.reports)]
