import errno
import os
from pathlib import Path

import pytest

from hposlurm.records import journal
from hposlurm.worker import recorder as module
from hposlurm.worker.recorder import Recorder


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "attempt-0.jsonl"


def break_disk(monkeypatch: pytest.MonkeyPatch, failures: int) -> None:
    real = os.write
    left = [failures]

    def write(fd: int, data: bytes) -> int:
        if left[0]:
            left[0] -= 1
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data)

    monkeypatch.setattr(os, "write", write)
    monkeypatch.setattr(module, "_RETRY_S", 0.001)


def test_records_wait_for_a_disk_that_refuses_and_then_come_in_order(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder = Recorder(journal.open_journal(path))
    break_disk(monkeypatch, failures=3)
    recorder.add("report", step=1)
    assert not recorder.flush()
    recorder.add("report", step=2)
    assert recorder.drain(10)
    assert [record["step"] for record in journal.read(path).records] == [1, 2]
    assert capsys.readouterr().err.count("the journal cannot be written, training goes on") == 1


def test_records_that_never_fit_are_given_up_with_a_word(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder = Recorder(journal.open_journal(path))
    break_disk(monkeypatch, failures=10**6)
    recorder.add("start")
    recorder.add("end")
    assert not recorder.drain(0)
    assert "2 records could not be written and are lost" in capsys.readouterr().err
    assert journal.read(path).records == ()
