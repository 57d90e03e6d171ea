"""status, list and logs, through the real command line; a watcher is a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hposlurm.backend import ElementState
from hposlurm.errors import BackendError
from hposlurm.records.layout import StudyLayout
from hposlurm.trial import JobState
from tests.cli.run import Run
from tests.studies import (
    SPEC,
    add_wave,
    completed,
    end,
    failed,
    make_study,
    report,
    start,
    study_of_completed,
    write_journal,
    write_log,
)


@pytest.fixture
def demo(runs: Path) -> StudyLayout:
    layout = make_study(runs, "demo", 4)
    add_wave(layout, range(4), retries=1)
    write_journal(layout, 0, completed(0, 2.0))
    write_journal(layout, 1, failed(1))
    write_journal(layout, 1, failed(1, 1), 1)
    write_journal(layout, 2, [start(2), report(1, eval_loss=1.5)])
    return layout


@dataclass
class Queue:
    """Stands for a cluster whose queue says this of jobs, the same of every job, or an error; counts the questions."""

    answer: ElementState | BackendError | dict[str, ElementState]
    name: str = "slurm"
    asked: list[list[str]] = field(default_factory=list)

    def states(self, job_ids: Sequence[str]) -> dict[str, ElementState]:
        self.asked.append(list(job_ids))
        if isinstance(self.answer, BackendError):
            raise self.answer
        if isinstance(self.answer, ElementState):
            return dict.fromkeys(job_ids, self.answer)
        return {job_id: self.answer[job_id] for job_id in job_ids if job_id in self.answer}


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Queue:
    found = Queue(ElementState(JobState.RUNNING))
    monkeypatch.setattr("hposlurm.backend.choose", lambda _kind: found)
    return found


# ---- status ----


@pytest.mark.usefixtures("demo")
def test_status_shows_the_study_at_a_glance(run: Run) -> None:
    text = run("status", "demo").out
    for part in (
        "demo: running (wave 0)",
        "4 of 4 planned: 1 WAITING, 1 RUNNING, 1 COMPLETE, 1 FAIL",
        "eval_loss=2 (trial 0: bs=1, lr=1e-05)",
        "trial 1 failed after 2 attempts: the command ended with exit status 1",
        "│ ValueError: no",
        "next: hposlurm status demo --watch",
    ):
        assert part in text
    assert max(len(line) for line in text.splitlines()) <= 80


def test_status_in_json_has_stable_keys(run: Run, demo: StudyLayout) -> None:
    data = json.loads(run("status", "demo", "--format", "json").out)
    assert (data["study"], data["directory"], data["phase"]) == ("demo", str(demo.root), "running")
    assert data["counts"] == {"WAITING": 1, "RUNNING": 1, "PAUSED": 0, "COMPLETE": 1, "PRUNED": 0, "FAIL": 1}
    params = {"bs": 1, "lr": 1e-5}
    assert data["best"] == {"trial": 0, "values": {"eval_loss": 2.0}, "params": params, "broken": [], "front": 1}
    assert data["failed"][0]["tail"] == ["Traceback", "ValueError: no"]


def test_status_writes_nothing(run: Run, demo: StudyLayout) -> None:
    before = {path: path.stat().st_mtime_ns for path in demo.root.rglob("*")}
    run("status", "demo")
    assert {path: path.stat().st_mtime_ns for path in demo.root.rglob("*")} == before


def test_status_shows_the_budget_and_why_it_ended(run: Run) -> None:
    layout = study_of_completed(run.runs, 2)
    text = layout.spec().read_text().replace("{n_trials: 2}", "{gpu_hours: 4.5}")
    layout.spec().write_text(text + "resources: {gpus_per_node: 2}\n")
    end = "gpu_hours: 4 of 4.5 used, the next trial could need 2"
    add_wave(layout, [], finished=end)
    shown = run("status", "demo").out
    assert f"finished ({end})" in " ".join(shown.split())
    assert "budget     gpu_hours 4 of 4.5\n" in "\n".join(line.rstrip() for line in shown.splitlines()) + "\n"
    data = json.loads(run("status", "demo", "--format", "json").out)
    assert data["budget"] == {"gpu_hours": {"used": 4.0, "limit": 4.5, "reserved": 0.0}}
    assert (data["phase"], data["detail"]) == ("finished", end)


@pytest.mark.usefixtures("demo")
def test_the_only_study_need_not_be_named(run: Run) -> None:
    assert "demo: running" in run("status").out
    study_of_completed(run.runs, 1, "other")
    result = run("status")
    assert (result.status, "which study? There are: demo, other" in result.err) == (2, True)


def test_status_without_any_study_says_where_it_looked(run: Run) -> None:
    result = run("status")
    assert result.status == 2
    assert f"there is no study in {run.runs}" in result.err


def test_a_study_outside_runs_is_named_by_its_directory_in_the_next_command(run: Run, tmp_path: Path) -> None:
    layout = study_of_completed(tmp_path / "elsewhere", 1)
    assert json.loads(run("status", str(layout.root), "--format", "json").out)["next"] == (
        f"hposlurm status {layout.root} --watch"
    )


@pytest.mark.usefixtures("demo")
def test_status_asks_the_queue_once(run: Run, queue: Queue) -> None:
    words = {"100_2": JobState.RUNNING, "100_3": JobState.PENDING, "150": JobState.PENDING}
    queue.answer = {job_id: ElementState(state) for job_id, state in words.items()}
    data = json.loads(run("status", "demo", "--format", "json").out)
    assert (data["queue"], data["planner"]) == ({"RUNNING": 1, "PENDING": 1}, "PENDING")
    assert data["running"][0]["job_state"] == "RUNNING"
    assert len(queue.asked) == 1


@pytest.mark.usefixtures("demo")
def test_status_does_without_a_queue_that_does_not_answer(run: Run, queue: Queue) -> None:
    queue.answer = BackendError("squeue: Unable to contact slurm controller")
    result = run("status", "demo", "--format", "json")
    assert result.status == 0
    assert json.loads(result.out)["phase"] == "running"
    assert "Unable to contact" in result.err


@pytest.mark.usefixtures("demo")
def test_watching_in_json_is_refused(run: Run) -> None:
    assert run("status", "demo", "--watch", "--format", "json").status == 2


def test_watching_a_study_that_is_over_shows_it_and_ends(run: Run) -> None:
    layout = study_of_completed(run.runs, 2)
    add_wave(layout, [], finished="2 of 2 trials are done")
    result = run("status", "demo", "--watch")
    assert result.status == 0
    assert "finished; 2 of 2 planned: 2 COMPLETE" in result.out


def watcher(runs: Path, *words: str, **options: object) -> subprocess.Popen[str]:
    environment = {**os.environ, "HPOSLURM_RUNS": str(runs), "COLUMNS": "80", "TERM": "xterm"}
    environment["PATH"] = "/nowhere"  # no squeue: an installed one without a cluster would say so
    command = [sys.executable, "-m", "hposlurm", *words]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen(command, text=True, env=environment, **options)  # type: ignore[call-overload]


def test_ctrl_c_leaves_a_watcher_quietly(demo: StudyLayout) -> None:
    with watcher(demo.root.parent, "status", "demo", "--watch", "--every", "0.2") as process:
        assert process.stdout is not None
        assert "running; 4 of 4 planned" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "", "")
    assert not demo.stop.exists()


def test_a_watcher_says_what_changes_and_ends_with_the_study(demo: StudyLayout) -> None:
    with watcher(demo.root.parent, "status", "demo", "--watch", "--every", "0.2") as process:
        assert process.stdout is not None
        assert "best eval_loss=2 (trial 0)" in process.stdout.readline()
        write_journal(demo, 2, [end("complete", metrics={"eval_loss": 1.0})])
        assert "best eval_loss=1 (trial 2)" in process.stdout.readline()
        add_wave(demo, [], finished="done")
        out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    assert out.strip().splitlines()[-1].split("  ")[1].startswith("finished; ")


# ---- list ----


@pytest.mark.usefixtures("demo")
def test_list_asks_the_queue_once_for_all_studies_and_agrees_with_status(run: Run, queue: Queue) -> None:
    add_wave(make_study(run.runs, "other"), range(3))
    add_wave(study_of_completed(run.runs, 2, "over"), [], finished="2 of 2 trials are done")
    queue.answer = ElementState(JobState.FAILED)
    phases = {line["study"]: line["phase"] for line in json.loads(run("list", "--format", "json").out)}
    assert len(queue.asked) == 1
    assert phases == {"demo": "stalled", "other": "stalled", "over": "finished"}
    assert "demo: stalled" in run("status", "demo").out


WHY = "the first trials all failed, and none completed: command exited with status 1"


@pytest.mark.usefixtures("demo", "queue")
def test_a_paused_study_says_why_and_what_to_type(run: Run) -> None:
    add_wave(StudyLayout(run.runs / "demo"), [], finished=f"paused: {WHY}", paused=True)
    out = run("status", "demo").out
    assert f"demo: paused ({WHY})" in " ".join(out.split())
    assert "next: hposlurm retry demo    (runs the failed trials again)\n" in out
    assert "      hposlurm resume demo   (goes on without them)\n" in out
    data = json.loads(run("status", "demo", "--format", "json").out)
    assert (data["phase"], data["detail"], data["next"]) == ("paused", WHY, "hposlurm retry demo")
    assert list(data["ways"]) == ["hposlurm retry demo", "hposlurm resume demo"]
    (line,) = json.loads(run("list", "--format", "json").out)
    assert (line["phase"], line["detail"]) == ("paused", WHY)
    assert run("list").out.splitlines()[2].split()[1] == "paused"
    assert f"nothing: no job is left, since the study has paused ({WHY})" in run("cancel", "demo").out


@pytest.mark.usefixtures("queue")
def test_a_study_that_paused_without_a_failed_trial_only_goes_on(run: Run) -> None:
    layout = make_study(run.runs, "idle")
    add_wave(layout, range(2))
    add_wave(layout, [], finished="paused: no element of wave 0 reached its worker; no node", paused=True)
    out = run("status", "idle").out
    assert "idle: paused (no element of wave 0 reached its worker; no node)" in " ".join(out.split())
    assert out.endswith("next: hposlurm resume idle   (goes on)\n")


@pytest.mark.usefixtures("demo")
def test_list_says_what_only_the_queue_knows(run: Run, queue: Queue) -> None:
    add_wave(study_of_completed(run.runs, 2, "over"), [], finished="2 of 2 trials are done")
    queue.answer = BackendError("squeue: Unable to contact slurm controller")
    result = run("list")
    rows = {line.split()[0]: line.split()[1] for line in result.out.splitlines()[2:]}
    assert (result.status, rows) == (0, {"demo": "?", "over": "finished"})
    assert result.err.count("Unable to contact") == 1
    assert '"phase": "unknown"' in run("list", "--format", "json").out


@pytest.mark.usefixtures("demo", "queue")
def test_a_long_best_value_takes_no_room_from_the_other_columns(run: Run) -> None:
    name = "loss_that_says_everything_about_itself_" * 2
    layout = make_study(run.runs, "long", spec=SPEC.replace("eval_loss", name))
    add_wave(layout, [0], objectives=(name,))
    write_journal(layout, 0, [start(0), report(1, **{name: 1.0}), end("complete", metrics={name: 1.0})])
    lines = run("list").out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["study", "phase", "done", "running", "failed", "age", "best"]
    assert next(line for line in lines if line.startswith("long")).rstrip().endswith("…")


@pytest.mark.usefixtures("demo", "queue")
def test_list_shows_the_studies_newest_first(run: Run) -> None:
    other = make_study(run.runs, "other")
    add_wave(other, range(3), created_at=1_800_000_000.0)
    make_study(run.runs, "unplanned")
    lines = run("list").out.splitlines()
    assert [line.split()[0] for line in lines[2:]] == ["other", "demo", "unplanned"]
    assert lines[2].split()[1:5] == ["running", "0/12", "0", "0"]  # of the budget, not of what is planned so far
    assert lines[3].split()[1:5] == ["running", "2/4", "1", "1"]
    assert "eval_loss=2 (trial 0)" in lines[3]


@pytest.mark.usefixtures("demo")
def test_list_in_json_has_stable_keys(run: Run) -> None:
    (line,) = json.loads(run("list", "--format", "json").out)
    assert list(line) == [
        *("study", "phase", "detail", "trials", "total", "counts", "objective", "best", "best_trial", "gpu_hours"),
        *("age_s", "tags", "directory"),
    ]
    assert (line["best"], line["best_trial"], line["tags"]) == (2.0, 0, {"project": "tests"})


@pytest.mark.usefixtures("demo")
def test_list_can_be_narrowed_to_tags(run: Run) -> None:
    assert "demo" in run("list", "--tag", "project=tests").out
    nothing = run("list", "--tag", "project=tests", "--tag", "owner=me")
    assert (nothing.status, nothing.out) == (0, "")
    assert "has project=tests, owner=me" in nothing.err
    assert run("list", "--tag", "project").status == 2


@pytest.mark.usefixtures("demo")
def test_list_names_what_it_cannot_read_and_goes_on(run: Run) -> None:
    broken = study_of_completed(run.runs, 1, "broken")
    broken.wave(0).plan.write_text("{")
    garbled = make_study(run.runs, "garbled", spec="name: [")
    (run.runs / "notes").mkdir()
    result = run("list")
    assert result.status == 0
    assert "demo" in result.out
    assert f"note: {broken.root} cannot be read" in result.err
    assert f"note: {garbled.root} cannot be read" in result.err
    assert "notes" not in result.err


def test_list_without_a_directory_of_studies_is_empty(run: Run) -> None:
    run.runs.rmdir()
    assert run("list", "--format", "json").out == "[]\n"


# ---- logs ----


def test_logs_prints_the_output_and_below_it_the_errors(run: Run, demo: StudyLayout) -> None:
    write_log(demo, 2, "epoch 1\n")
    write_log(demo, 2, "a warning\n", stream="err")
    assert run("logs", "demo", "2").out == "epoch 1\n\n---- waves/0000/logs/100_2_0_log.err ----\na warning\n"
    assert run("logs", "demo", "2", "--err").out == "a warning\n"


@pytest.mark.parametrize(
    ("errors", "whose"),
    [
        ("hposlurm: trial 2, attempt 0: complete\n", ", lines of the worker"),
        ("a warning\nhposlurm: trial 2, attempt 0: complete", ', with lines of the worker that start with "hposlurm:"'),
        ("a warning of hposlurm: no\n", ""),
    ],
)
def test_logs_says_what_of_the_errors_is_the_worker_s(run: Run, demo: StudyLayout, errors: str, whose: str) -> None:
    write_log(demo, 2, "epoch 1\n")
    write_log(demo, 2, errors, stream="err")
    assert run("logs", "demo", "2").out == f"epoch 1\n\n---- waves/0000/logs/100_2_0_log.err{whose} ----\n{errors}"


def test_logs_of_a_quiet_trial_are_its_output_alone(run: Run, demo: StudyLayout) -> None:
    write_log(demo, 2, "epoch 1\n")
    write_log(demo, 2, "", stream="err")
    assert run("logs", "demo", "2").out == "epoch 1\n"


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["9"], 2, "there is no trial 9; the study's trials: 0 to 3"),
        (["1", "--attempt", "2"], 2, "trial 1 has no attempt 2; its attempts: 0, 1"),
        (["3"], 1, "trial 3 has not started yet"),
        (["2"], 1, "waves/0000/logs/100_2_0_log.out does not exist"),
    ],
)
@pytest.mark.usefixtures("demo")
def test_logs_says_what_is_not_there(run: Run, words: list[str], status: int, message: str) -> None:
    result = run("logs", "demo", *words)
    assert (result.status, result.out) == (status, "")
    assert message in result.err


def test_logs_passes_on_any_bytes(demo: StudyLayout) -> None:
    write_log(demo, 2, "").write_bytes(b"\xff\xfe caf\xc3\xa9\n")
    command = [sys.executable, "-m", "hposlurm", "logs", str(demo.root), "2"]
    assert subprocess.run(command, capture_output=True, check=True).stdout == b"\xff\xfe caf\xc3\xa9\n"


def test_logs_follows_until_the_attempt_ends(demo: StudyLayout) -> None:
    path = write_log(demo, 2, "one\n")
    with watcher(demo.root.parent, "logs", "demo", "2", "-f") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "one\n"
        with path.open("a") as file:
            file.write("two\n")
        write_journal(demo, 2, [end("fail", reason="no")])
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "two\n", "")


def test_ctrl_c_leaves_a_followed_log_quietly(demo: StudyLayout) -> None:
    write_log(demo, 2, "one\n")
    with watcher(demo.root.parent, "logs", "demo", "2", "-f") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "one\n"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=30) == ("", "")
    assert process.returncode == 0
