"""A real worker whose study lies on a real file system that is full for a while."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hposlurm.records import journal
from tests.worker.study import Study, report, until

SIZE = 256 * 1024


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Study]:
    """A study on a file system of 256 KiB; its node-local files lie elsewhere."""
    root = tmp_path / "study"
    root.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=700", "hposlurm-test", str(root)]
    if os.geteuid() != 0 or subprocess.run(words, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    made = Study(root, tmp_path / "tmp")
    made.scratch.mkdir()
    try:
        yield made
    finally:
        for process in made.processes:
            process.kill()
            process.communicate()
        subprocess.run(["umount", "-l", str(root)], check=True)


def fill(study: Study) -> Path:
    """Takes all the room that is left, to the last byte of every page."""
    filler = study.root / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 512):
                pass
        except OSError:
            pass
    return filler


def test_a_full_disk_costs_no_record_and_no_training(small: Study, tmp_path: Path) -> None:
    up, go, done, on = (tmp_path / name for name in ("up", "go", "done", "on"))
    line = r'{"step": %d, "metrics": {"eval_loss": 1}}\n'
    small.plan(
        f"touch {up}; until [ -e {go} ]; do sleep 0.02; done; "
        f"printf '{line}' $(seq 1 400) >> $HPOSLURM_METRICS_FILE; touch {done}; "
        f"until [ -e {on} ]; do sleep 0.02; done; {report(401, eval_loss=0.5)}"
    )
    process = small.start(HPOSLURM_LOG=str(tmp_path / "element.out"))
    assert process.stderr is not None
    until(up.exists)
    filler = fill(small)
    go.touch()
    complaint = process.stderr.readline()
    assert "the journal cannot be written, training goes on and records wait in memory" in complaint
    assert "No space left on device" in complaint
    until(done.exists)  # the training went on all the same
    path = small.trial().journal(0)
    for _ in range(20):  # what can be read while the disk is full is whole
        tail = journal.read(path)
        assert tail.corrupt == 0 and 1 <= len(tail.records) < 401
    filler.unlink()
    relief = process.stderr.readline()
    assert "the journal can be written again" in relief and "none was lost" in relief
    on.touch()
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert [step for step, _ in small.reports()] == list(range(1, 402))
    assert small.end() == ("complete", "")
    assert journal.read(path).corrupt == 0


def test_a_trial_that_ends_while_the_disk_is_full_is_recorded_once_there_is_room(small: Study, tmp_path: Path) -> None:
    up, go = tmp_path / "up", tmp_path / "go"
    line = r'{"step": %d, "metrics": {"eval_loss": 1}}\n'
    command = f"touch {up}; until [ -e {go} ]; do sleep 0.02; done; "
    small.plan(f"{command} printf '{line}' $(seq 1 200) >> $HPOSLURM_METRICS_FILE")
    process = small.start(HPOSLURM_LOG=str(tmp_path / "element.out"))
    assert process.stderr is not None
    until(up.exists)
    filler = fill(small)
    go.touch()
    said = [process.stderr.readline()]
    while "attempt 0: complete" not in said[-1]:
        said.append(process.stderr.readline())
    assert any("cannot be written" in text for text in said)
    filler.unlink()
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert len(small.reports()) == 200
    assert small.end() == ("complete", "")


def test_an_attempt_that_begins_while_the_disk_is_full_waits_for_room(small: Study, tmp_path: Path) -> None:
    small.plan(report(1, eval_loss=1))
    filler = fill(small)
    process = small.start(HPOSLURM_LOG=str(tmp_path / "element.out"))
    assert process.stderr is not None
    assert "the attempt waits for room in the study's directory" in process.stderr.readline()
    filler.unlink()
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert small.end() == ("complete", "")
