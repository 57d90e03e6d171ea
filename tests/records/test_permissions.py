"""What is created where the group may read can be read by it, whatever the umask; else by its owner only."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from hposlurm.backend.executor import ScriptExecutor
from hposlurm.records.files import create_once, link_once, publish
from hposlurm.records.journal import open_journal
from hposlurm.records.permissions import make_directory, make_study_directory, umask_for
from tests.fake_slurm import FakeSlurm, fake_slurm

__all__ = ["fake_slurm"]


@pytest.fixture(params=[0o077, 0o022, 0o002, 0])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize(("shared", "directory", "file"), [(True, 0o750, 0o640), (False, 0o700, 0o600)])
def test_what_is_created_in_a_study_follows_its_directory(
    tmp_path: Path, shared: bool, directory: int, file: int
) -> None:
    study = tmp_path / "study"
    make_study_directory(study, is_for_group=shared)
    make_directory(study / "waves" / "0000" / "logs")
    for path in (study, study / "waves", study / "waves" / "0000", study / "waves" / "0000" / "logs"):
        assert mode(path) == directory
    here = study / "waves" / "0000"
    create_once(here / "wave.json", b"")
    publish(here / "planner.json", b"")
    link_once(here / "wave.json", here / "claim")
    os.close(open_journal(here / "attempt-0.jsonl"))
    assert {mode(path) for path in here.iterdir() if path.is_file()} == {file}
    publish(here / "study.db", b"", 0o440)
    assert mode(here / "study.db") & 0o737 == 0o400
    assert not shared or mode(here / "study.db") == 0o440
    assert umask_for(study) == (0o027 if shared else None)


@pytest.mark.usefixtures("umask")
def test_a_directory_that_another_process_has_just_made_is_shared_as_well(tmp_path: Path) -> None:
    make_study_directory(tmp_path / "study", is_for_group=True)
    (tmp_path / "study" / "waves").mkdir(mode=0o700)
    make_directory(tmp_path / "study" / "waves")
    assert mode(tmp_path / "study" / "waves") == 0o750
    with pytest.raises(FileExistsError):
        make_directory(tmp_path / "study" / "waves", exist_ok=False)


@pytest.mark.usefixtures("umask")
def test_the_group_of_a_directory_with_setgid_is_kept(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs").chmod(0o2750)
    make_study_directory(tmp_path / "runs" / "study", is_for_group=True)
    make_directory(tmp_path / "runs" / "study" / "waves")
    assert mode(tmp_path / "runs" / "study" / "waves") == 0o2750


def test_jobs_of_a_shared_study_get_a_umask_with_which_slurm_makes_readable_logs(
    tmp_path: Path, fake_slurm: FakeSlurm
) -> None:
    before = os.umask(0o077)
    try:
        for shared in (True, False):
            logs = tmp_path / f"logs-{shared}"
            make_study_directory(logs, is_for_group=shared)
            job = ScriptExecutor(logs).submit_script("#!/bin/sh\n#SBATCH --job-name=x\n")
            assert mode(fake_slurm.home / f"job-{job}.json") == (0o640 if shared else 0o600)
            assert os.umask(0o077) == 0o077
    finally:
        os.umask(before)
