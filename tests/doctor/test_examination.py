"""The whole examination: its order, what it writes, deadlines, and the screen. Without Slurm."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from rich.console import Console

from hposlurm.doctor import examination, shell
from hposlurm.doctor.answers import Answers
from hposlurm.doctor.examination import DoctorReport, Request, examine
from hposlurm.doctor.finding import NOT_TRIED, Finding, NoAnswerError, ok, unknown, warn, within
from hposlurm.doctor.screen import screen
from hposlurm.errors import RequestError
from tests.doctor.recorded import answers

LOCAL = ["slurm", "root", "file_system", "space", "concurrency", "shell", "python"]
SLURM = ["slurm", "controller", "partitions", "arrays", "submit_limits", "kill_wait", "accounting", "preemption"]
SLURM += ["root", "file_system", "space", "concurrency", "probe_job", "job_sbatch", "node", "torch", "tmpdir"]
SLURM += ["shell", "python"]


@pytest.fixture
def asked(monkeypatch):
    """Sets what Slurm answers; without being called there is no Slurm."""

    def give(found: Answers) -> None:
        monkeypatch.setattr(examination, "ask_slurm", lambda: found)

    give(Answers())
    return give


def names(report: DoctorReport) -> list[str]:
    return [finding.name for finding in report.findings]


def entries(directory: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in [directory, *directory.rglob("*")]}


@pytest.mark.usefixtures("asked")
def test_without_slurm(tmp_path):
    report = examine(Request(tmp_path), print)
    assert names(report) == LOCAL


def test_with_slurm_every_name_is_there(tmp_path, asked):
    asked(answers())
    assert names(examine(Request(tmp_path), print)) == SLURM


def test_without_a_probe_nothing_is_written(tmp_path, asked, monkeypatch):
    asked(answers())
    monkeypatch.chdir(tmp_path)
    before = entries(tmp_path)
    report = examine(Request(tmp_path / "runs"), print)
    assert entries(tmp_path) == before
    assert {f.name for f in report.findings if f.found == NOT_TRIED} >= {"concurrency", "node", "torch"}


@pytest.mark.usefixtures("asked")
def test_what_a_probe_writes_is_gone_again(tmp_path):
    said: list[str] = []
    root = tmp_path / "runs"
    report = examine(Request(root, probe=True), said.append)
    assert [f.verdict for f in report.findings if f.name == "concurrency"] == ["ok"]
    assert list(tmp_path.iterdir()) == []
    assert said and "append, link and rename" in said[0]


@pytest.mark.usefixtures("asked")
def test_a_root_that_cannot_be_used_is_not_probed(tmp_path):
    (tmp_path / "runs").write_text("a file")
    report = examine(Request(tmp_path / "runs", probe=True), print)
    assert [f.verdict for f in report.findings if f.name in ("root", "concurrency")] == ["fail", "unknown"]
    assert report.to_json()["ok"] is False


def test_no_job_is_sent_to_a_controller_that_does_not_answer(tmp_path, asked, monkeypatch):
    asked(answers(config="!scontrol gave no answer in 15 s"))
    monkeypatch.setattr(examination, "run_probe", lambda *_: pytest.fail("a job was sent"))
    report = examine(Request(tmp_path, probe=True), print)
    assert {f.verdict for f in report.findings if f.name in ("probe_job", "torch")} == {"unknown"}


@pytest.mark.usefixtures("asked")
def test_a_file_system_that_is_silent_is_found_out(tmp_path, monkeypatch):
    ends = threading.Event()
    monkeypatch.setattr(examination, "_FILES_DEADLINE_S", 0.1)
    monkeypatch.setattr(examination.mounts, "space", lambda _: ends.wait(60))
    try:
        report = examine(Request(tmp_path, probe=True), print)
    finally:
        ends.set()
    root = next(f for f in report.findings if f.name == "root")
    assert root.verdict == "fail" and "no answer in 0.1 s" in root.found


@pytest.mark.parametrize("wrong", [{"partition": "a b"}, {"account": "x\n#SBATCH --wrap"}, {"partition": ""}])
@pytest.mark.usefixtures("asked")
def test_names_that_are_no_names(tmp_path, wrong):
    with pytest.raises(RequestError, match="takes one name"):
        examine(Request(tmp_path, **wrong), print)


def test_within_gives_the_answer_the_error_or_the_silence():
    assert within(5, lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        within(5, lambda: 1 // 0)
    ends = threading.Event()
    with pytest.raises(NoAnswerError, match=r"no answer in 0\.05 s"):
        within(0.05, lambda: ends.wait(60))
    ends.set()


def test_json_has_stable_keys(tmp_path):
    report = DoctorReport(Request(tmp_path), (ok("slurm", "22.05"), warn("root", "full", "gc")), 1.234)
    assert report.to_json() == {
        "root": str(tmp_path),
        "partition": None,
        "probe": False,
        "ok": True,
        "counts": {"ok": 1, "warn": 1, "fail": 0, "unknown": 0},
        "seconds": 1.23,
        "findings": [
            {"name": "slurm", "verdict": "ok", "found": "22.05", "advice": ""},
            {"name": "root", "verdict": "warn", "found": "full", "advice": "gc"},
        ],
    }


def shown(*findings: Finding) -> str:
    console = Console(width=80, file=open(os.devnull, "w"), record=True)  # noqa: SIM115
    console.print(screen(DoctorReport(Request(Path("/x")), findings, 0.4)))
    console.file.close()
    return console.export_text()


def test_the_screen_fits_80_columns_and_puts_advice_beneath():
    text = shown(ok("kill_wait", "30 s " * 40), warn("root", "full", "make room: [bold]not markup"))
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "kill wait" in text and "→ make room: [bold]not markup" in text
    assert "2 checks in 0.4 s: 1 ok, 1 warn" in text


def test_the_screen_says_once_what_is_unknown_for_one_reason():
    text = shown(unknown("node", NOT_TRIED), unknown("torch", NOT_TRIED), unknown("partitions", "denied", "ask"))
    assert f"{NOT_TRIED}: node, torch" in text and text.count(NOT_TRIED) == 1
    assert "partitions" in text and "→ ask" in text


def test_the_screen_shows_no_control_characters_of_others():
    assert "\x1b" not in shown(ok("slurm", "22.05\x1b[31m"))


def test_a_clean_shell():
    assert shell.shell({"SLURM_CONF": "/etc/slurm.conf", "HOME": "/x"}).verdict == "ok"


def test_a_shell_inside_a_job():
    finding = shell.shell({"SLURM_JOB_ID": "7", **{f"SLURM_{c}": "1" for c in "ABCDEFGH"}})
    assert finding.verdict == "warn"
    assert finding.found.startswith("inside job 7: SLURM_A") and finding.found.endswith("and 3 more")


def test_defaults_for_sbatch_belong_into_the_study_file():
    finding = shell.shell({"SBATCH_ACCOUNT": "k01", "SBATCH_PARTITION": "batch"})
    assert "slurm.account: k01, slurm.partition: batch" in finding.advice
