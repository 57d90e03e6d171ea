import errno
import os
import time
from pathlib import Path

import pytest

from hposlurm.errors import StudyError
from hposlurm.records.plan import read_plan
from hposlurm.worker import claim
from tests.worker.study import Study


def test_a_damaged_record_of_the_trial_is_an_error(study: Study) -> None:
    study.plan("true")
    assignment = read_plan(study.layout.wave(0)).assignments[0]
    study.trial().root.mkdir(parents=True)
    study.trial().record.write_text("{")
    with pytest.raises(StudyError, match=r"trial\.json is damaged"):
        claim.record_trial(study.trial(), 0, assignment)


def test_attempts_are_counted_behind_the_highest(study: Study) -> None:
    trial = study.trial()
    trial.root.mkdir(parents=True)
    trial.journal(4).touch()
    attempt, fd = claim.claim_attempt(trial)
    os.close(fd)
    assert attempt == 5
    assert trial.attempts() == [4, 5]


def test_without_any_writable_log_the_output_goes_nowhere(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    path, fd = claim.open_log(study.trial(), 0, str(study.root / "no" / "such" / "log"))
    os.close(fd)
    assert path == Path(os.devnull)
    assert "training goes on without one" in capsys.readouterr().err


def test_no_output_is_appended_through_a_link(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    (study.root / "thesis").write_text("words")
    study.trial().root.mkdir(parents=True)
    (study.trial().root / "attempt-1.log").symlink_to(study.root / "thesis")
    path, fd = claim.open_log(study.trial(), 1, None)
    os.close(fd)
    assert path == Path(os.devnull)
    assert "training goes on without one" in capsys.readouterr().err


def test_a_disk_that_stays_full_is_an_error_in_the_end() -> None:
    def write() -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    with pytest.raises(OSError, match="quota"):
        claim.when_there_is_room(write, patience_s=0.05)


def test_any_other_error_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("waited"))
    with pytest.raises(FileNotFoundError):
        claim.when_there_is_room(lambda: Path("/no/such/place").stat())
