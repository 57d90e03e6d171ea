"""`hposlurm doctor` through the real command line, without Slurm."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hposlurm.doctor import examination
from hposlurm.doctor.answers import Answers
from tests.cli.run import Run
from tests.doctor.recorded import answers


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "ask_slurm", Answers)


def test_without_slurm_it_says_so_and_nothing_is_wrong(run: Run) -> None:
    done = run("doctor")
    assert done.status == 0
    assert "only the local backend is available" in done.out
    assert max(len(line) for line in done.out.splitlines()) <= 80


def test_json_is_all_there_is_on_stdout(run: Run, runs: Path) -> None:
    done = run("doctor", "--probe", "--format", "json")
    report = json.loads(done.out)
    assert list(report) == ["root", "partition", "probe", "ok", "counts", "seconds", "findings"]
    assert (report["root"], report["probe"], report["ok"]) == (str(runs), True, True)
    assert {tuple(finding) for finding in report["findings"]} == {("name", "verdict", "found", "advice")}
    assert list(runs.iterdir()) == []


def test_something_that_fails_is_exit_status_1(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run("doctor", "--root", str(tmp_path / "file"))
    assert done.status == 1
    assert "fail" in done.out and "→ name another directory" in done.out


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--partition", "bath", "no partition 'bath' here; the partitions are batch, grace, urgent"),
        ("--partition", "a b", "--partition takes one name, not 'a b'"),
        ("--wait", "0", "--wait"),
        ("--format", "xml", "xml"),
    ],
)
def test_a_wrong_request_is_exit_status_2(
    run: Run, monkeypatch: pytest.MonkeyPatch, option: str, value: str, said: str
) -> None:
    monkeypatch.setattr(examination, "ask_slurm", answers)
    done = run("doctor", option, value)
    assert (done.status, done.out) == (2, "")
    assert said in done.err
