"""Live pages: the loop with a terminal that is an argument, and real ones, which must be left as they were found."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from rich.text import Text

from hposlurm import Study
from hposlurm.cli.live import show_page
from hposlurm.records.clock import Clock
from hposlurm.records.layout import StudyLayout
from tests.cli.pty_screen import ALTERNATE, NORMAL, PtyScreen, on_a_terminal
from tests.cli.run import Run
from tests.fake_slurm import BIN, FakeSlurm, fake_slurm
from tests.studies import SPEC, add_wave, completed, end, make_study, report, start, study_of_completed, write_journal

__all__ = ["fake_slurm"]


@pytest.fixture
def demo(runs: Path) -> StudyLayout:
    layout = make_study(runs, "demo", 4)
    add_wave(layout, range(4))
    write_journal(layout, 0, completed(0, 2.0))
    write_journal(layout, 2, [start(2), report(1, eval_loss=1.5), report(2, eval_loss=1.25)])
    return layout


# ---- the loop ----


@dataclass
class Screen:
    """Stands for a terminal: gives these answers to the questions of the loop, and keeps what it was shown."""

    answers: list[str] = field(default_factory=list)
    size: tuple[int, int] = (80, 24)
    shown: list[str] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)
    is_open: bool = False

    @contextmanager
    def page(self) -> Iterator[None]:
        self.is_open = True
        try:
            yield
        finally:
            self.is_open = False

    def show(self, lines: Sequence[Text]) -> None:
        assert self.is_open
        self.shown += [line.plain for line in lines]

    def wait(self, seconds: float) -> str:
        self.waited.append(seconds)
        return self.answers.pop(0) if self.answers else ""


def loop(screen: Screen, views: Sequence[int], over: int | None = None) -> int | None:
    moments = iter(range(100))
    return show_page(
        views,
        lambda view, width, height: [Text(f"{view}: {width} × {height}")],
        lambda view: view == over,
        5.0,
        screen,
        lambda: next(moments),
    )


def test_each_view_is_shown_until_one_is_over() -> None:
    screen = Screen()
    assert loop(screen, [1, 2, 3, 4], over=3) == 3
    assert (screen.shown, screen.is_open) == (["1: 80 × 24", "2: 80 × 24"], False)


def test_a_changed_size_draws_the_same_view_again_and_waits_only_for_the_rest() -> None:
    screen = Screen(["redraw", "redraw", "", "leave"])
    assert loop(screen, [1, 2, 3]) is None
    assert screen.shown == ["1: 80 × 24"] * 3 + ["2: 80 × 24"]
    assert screen.waited == [4, 3, 2, 4]


def test_reading_takes_a_fifth_of_the_time_at_most() -> None:
    passed = [0.0]

    def views() -> Iterator[int]:
        for view in range(2):
            passed[0] += 3.0
            yield view

    screen = Screen()
    show_page(views(), lambda *_: [], lambda _: False, 5.0, screen, lambda: passed[0])
    assert screen.waited == [15.0, 15.0]


def test_ctrl_c_gives_the_terminal_back_and_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_seconds: float) -> str:
        raise KeyboardInterrupt

    screen = Screen()
    monkeypatch.setattr(screen, "wait", interrupt)
    assert loop(screen, [1, 2]) is None
    assert not screen.is_open


# ---- how often Slurm is asked ----


@pytest.fixture
def calls(fake_slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that gets a line for each call of squeue."""
    found, bin_ = fake_slurm.home / "calls", fake_slurm.home / "bin"
    bin_.mkdir()
    found.touch()
    (bin_ / "squeue").write_text(f'#!/bin/sh\necho "$*" >> {found}\nexec {BIN}/squeue "$@"\n')
    (bin_ / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_}:{os.environ['PATH']}")
    return found


def slurm_study(runs: Path, fake_slurm: FakeSlurm, name: str = "demo", job_id: str = "100") -> StudyLayout:
    """Trial 0 had to leave its node, and its job waits again."""
    layout = make_study(runs, name, spec=SPEC.replace("backend: local", "backend: slurm"))
    add_wave(layout, range(2))
    asked = {"kind": "told_to_stop", "signal": int(signal.SIGTERM)}
    write_journal(layout, 0, [{**start(0), "host": "n1"}, end("interrupted", cause=asked)])
    write_journal(layout, 1, [start(1), report(1, eval_loss=1.0)])
    job = {"name": "x", "comment": "", "after": [], "held": False, "reason": "", "start": "Unknown"}
    for own, array, states in ((job_id, True, ["PENDING", "RUNNING"]), (str(int(job_id) + 50), False, ["PENDING"])):
        (fake_slurm.home / f"job-{own}.json").write_text("{}")
        fake_slurm.change(own, **job, id=own, array=array, states=states)
    return layout


def test_a_watcher_asks_at_most_every_ten_seconds(runs: Path, fake_slurm: FakeSlurm, calls: Path) -> None:
    layout = slurm_study(runs, fake_slurm)
    passed = [0.0]
    looks = Study.open(layout.root, clock=Clock(monotonic=lambda: passed[0])).looks()
    asked: list[float] = []
    for second in range(121):
        passed[0] = float(second)
        known = len(calls.read_text().splitlines())
        progress, _ = next(looks)
        asked += [second] * (len(calls.read_text().splitlines()) - known)
    assert asked == [0, 10, 30, 40, 60, 70, 90, 100, 120]  # in turn about the jobs, and about the node that was lost
    assert (progress.phase, [lost.node for lost in progress.lost]) == ("running", ["n1"])


def test_a_list_asks_once_for_all_studies(runs: Path, fake_slurm: FakeSlurm, calls: Path) -> None:
    for number in range(3):
        slurm_study(runs, fake_slurm, f"s{number}")
    passed = [0.0]
    views = Study.watch_all(clock=Clock(monotonic=lambda: passed[0]))
    asked: list[float] = []
    for second in range(61):
        passed[0] = float(second)
        known = len(calls.read_text().splitlines())
        assert len(next(views)) == 3
        asked += [second] * (len(calls.read_text().splitlines()) - known)
    assert asked == [0, 30, 60]


def test_status_itself_asks_all_at_once(runs: Path, fake_slurm: FakeSlurm, calls: Path) -> None:
    assert Study.open(slurm_study(runs, fake_slurm).root).status().lost
    assert len(calls.read_text().splitlines()) == 2


@pytest.mark.usefixtures("demo")
def test_a_study_that_was_launched_since_the_last_question_is_unknown(runs: Path) -> None:
    views = Study.watch_all(clock=Clock(monotonic=lambda: 0.0))
    assert [line.study for line in next(views)] == ["demo"]
    add_wave(make_study(runs, "newer"), range(2))
    assert {line.study: line.phase for line in next(views)}["newer"] == "unknown"


# ---- real terminals ----


@contextmanager
def watching(runs: Path, *words: str, every: str = "0.2", **size: int) -> Iterator[PtyScreen]:
    options = ("--watch", "--every", every)
    with on_a_terminal((*words, *options), **size, HPOSLURM_RUNS=str(runs), PATH="/nowhere") as screen:
        yield screen


@pytest.mark.parametrize("words", [("status", "demo"), ("list",)], ids=["status", "list"])
@pytest.mark.parametrize("keys", [b"\x03", b"q"], ids=["ctrl-c", "q"])
def test_a_key_leaves_the_terminal_as_it_was(demo: StudyLayout, keys: bytes, words: tuple[str, ...]) -> None:
    with watching(demo.root.parent, *words) as screen:
        screen.until("nothing is stopped")
        assert not screen.echoes
        screen.type(b"x")  # is not echoed, and not left for the shell
        screen.type(keys)
        assert screen.ended() == 0
        screen.assert_given_back()
        assert "Traceback" not in screen.text
    assert not demo.stop.exists()


def test_what_is_typed_after_the_key_is_not_left_for_the_shell(demo: StudyLayout) -> None:
    with watching(demo.root.parent, "status", "demo", every="600") as screen:
        screen.until("nothing is stopped")
        screen.type(b"q" + b"rm -r . " * 20 + b"\n")  # more than is read at once
        assert screen.ended() == 0
        screen.assert_given_back()
        assert screen.typed_ahead() == b""


def test_sigterm_leaves_the_terminal_as_it_was(demo: StudyLayout) -> None:
    with watching(demo.root.parent, "status", "demo") as screen:
        screen.until("nothing is stopped")
        screen.process.terminate()
        assert screen.ended() == 128 + signal.SIGTERM
        screen.assert_given_back()


def test_an_error_leaves_the_terminal_as_it_was_and_is_told_there(demo: StudyLayout) -> None:
    with watching(demo.root.parent, "status", "demo") as screen:
        screen.until("nothing is stopped")
        demo.wave(0).plan.write_text("{")
        assert screen.ended() == 1
        screen.assert_given_back()
        assert screen.seen.rfind(b"error:") > screen.seen.rfind(NORMAL)


def test_the_page_follows_the_size_of_its_terminal_at_once(demo: StudyLayout) -> None:
    with watching(demo.root.parent, "status", "demo", every="600") as screen:
        screen.until("nothing is stopped")
        screen.resize(60, 12)
        screen.until("nothing is stopped")
        screen.type(b"\x03")
        assert screen.ended() == 0
        screen.assert_given_back()
    page = screen.text.rpartition("demo: running")[2]
    assert len(("demo: running" + page).splitlines()[0]) == 60 * 12  # each line is put into its place


def test_ctrl_z_gives_the_terminal_back_until_it_goes_on(demo: StudyLayout) -> None:
    with watching(demo.root.parent, "status", "demo", every="600") as screen:
        screen.until("nothing is stopped")
        screen.type(b"\x1a")
        assert screen.stopped()
        screen.assert_given_back()
        screen.process.send_signal(signal.SIGCONT)
        screen.until("nothing is stopped")
        assert screen.seen.rfind(ALTERNATE) > screen.seen.rfind(NORMAL) and not screen.echoes
        screen.type(b"q")
        assert screen.ended() == 0
        screen.assert_given_back()


def test_the_end_of_a_study_stays_on_the_terminal(demo: StudyLayout) -> None:
    with watching(demo.root.parent, "status", "demo") as screen:
        screen.until("█▁")
        write_journal(demo, 2, [end("complete", metrics={"eval_loss": 1.0})])
        add_wave(demo, [], finished="done")
        assert screen.ended() == 0
        screen.assert_given_back()
        assert b"next: " in screen.seen[screen.seen.rfind(NORMAL) :]


def test_a_list_ends_when_all_studies_are_over(demo: StudyLayout) -> None:
    write_journal(demo, 2, [end("complete", metrics={"eval_loss": 1.0})])
    with watching(demo.root.parent, "list") as screen:
        screen.until("1 study, 1 not over")
        add_wave(demo, [], finished="done")
        assert screen.ended() == 0
        screen.assert_given_back()
        assert b"finished" in screen.seen[screen.seen.rfind(NORMAL) :]


@pytest.mark.parametrize(("variable", "value"), [("TERM", "dumb")])
def test_a_terminal_that_cannot_show_a_page_gets_lines(demo: StudyLayout, variable: str, value: str) -> None:
    words = ("status", "demo", "--watch")
    variables = {"HPOSLURM_RUNS": str(demo.root.parent), "PATH": "/nowhere", variable: value}
    with on_a_terminal(words, **variables) as screen:
        screen.until("running; 4 of 4 planned")
        screen.type(b"\x03")
        assert screen.ended() == 0
        assert b"\x1b[?" not in screen.seen


TRIAL = """\
import sys, time
from pathlib import Path
from hposlurm import client
for step in (1, 2, 3):
    client.report(step=step, loss=float(sys.argv[1]) / step)
    while not Path(sys.argv[2]).exists():
        time.sleep(0.05)
"""


def test_a_real_study_is_watched_from_its_first_report_to_its_end(runs: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    (tmp_path / "trial.py").write_text(TRIAL)
    command = f"{sys.executable} {tmp_path}/trial.py {{{{ x }}}} {gate}"
    (tmp_path / "study.yaml").write_text(
        f"name: real\nbackend: local\nobjectives: [{{name: loss}}]\nsearch: {{algorithm: random, seed: 1}}\n"
        "parameters: {x: {type: float, min: 1.0, max: 2.0}}\nbudget: {n_trials: 2}\n"
        f"trial: {{command: '{command}'}}\nresources: {{mem_gb: 0.25, time: '00:10:00'}}\n"
    )
    launch = [sys.executable, "-m", "hposlurm", "launch", str(tmp_path / "study.yaml"), "--yes"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(launch, cwd=tmp_path, **quiet) as driver:
        try:
            while not (runs / "real" / "trials").exists():
                assert driver.poll() is None
            with on_a_terminal(("status", "real", "--watch", "--every", "0.2"), HPOSLURM_RUNS=str(runs)) as screen:
                screen.until("▄")  # a curve of one point
                gate.touch()
                assert screen.ended() == 0
                screen.assert_given_back()
                last = screen.seen[screen.seen.rfind(NORMAL) :].decode()
                assert "2 of 2 planned: 2 COMPLETE" in last
            assert driver.wait(timeout=60) == 0
        finally:
            driver.kill()


# ---- what is no terminal ----


def test_list_writes_lines_where_there_is_no_terminal(run: Run) -> None:
    layout = study_of_completed(run.runs, 2)
    add_wave(layout, [], finished="2 of 2 trials are done")
    result = run("list", "--watch")
    assert result.status == 0
    assert result.out.split("  ")[1] == "demo: finished; 2 COMPLETE; best eval_loss=1 (trial 0)\n"


@pytest.mark.usefixtures("demo")
def test_a_watched_list_in_json_is_refused(run: Run) -> None:
    assert run("list", "--watch", "--format", "json").status == 2
